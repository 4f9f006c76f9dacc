package volume

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pool is what a plan must know of a thin pool. Sizes are in bytes.
type Pool struct {
	Name     string `json:"name"`     // VG/POOL
	Size     int64  `json:"size"`     // of its data
	Virtual  int64  `json:"virtual"`  // what its volumes take once all of them is written
	Chunk    int64  `json:"chunk"`    // what it gives its space out in
	Metadata int64  `json:"metadata"` // free for its metadata
	// Waits says that a write to the full pool waits for space, a minute long unless
	// dm_thin_pool's no_space_timeout says otherwise. It fails at once elsewhere.
	Waits bool `json:"waits"`
}

// shape is how lvcreate is told the kind, size and place of a volume of n extents. A
// thin one has nothing to be wiped.
func (l LVM) shape(n, extent int64) []string {
	if l.Pool != "" {
		return []string{"--type", "thin", "--virtualsize", strconv.FormatInt(n*extent, 10) + "b", "--thinpool", l.Pool, l.VG}
	}
	return []string{"--type", "linear", "--zero", "y", "--wipesignatures", "y", "--extents", strconv.FormatInt(n, 10), l.VG}
}

// poolFields are what lvs is asked of the pool, and of its volumes.
const poolFields = "lv_name,lv_size,segtype,pool_lv,data_percent,metadata_percent,lv_metadata_size,chunk_size,zero,lv_when_full,lv_health_status"

// checkPool adds what is to be known of the thin pool, if there is to be one, and
// refuses one in which no volume can be made, or none that reads as zeros; and one that
// two hosts may have active, each of which gives out its space as if it were alone.
func (l LVM) checkPool(ctx context.Context, f *Facts) error {
	if l.Pool == "" {
		return nil
	}
	if f.Sharing.unguarded() {
		return fmt.Errorf("thin pool %s/%s: the volume group is %s, and a pool that is active on two hosts is destroyed: use --storage lvm:%s, or let LVM keep other hosts out, by lvmlockd or a system id (`vgchange --systemid`, see `man lvmsystemid`)",
			l.VG, l.Pool, f.Sharing.Text(), l.VG)
	}
	rows, err := l.rows(ctx, "lvs", "lv", poolFields)
	if err != nil {
		return fmt.Errorf("thin pool %s/%s: %w", l.VG, l.Pool, err)
	}
	p := &Pool{Name: l.VG + "/" + l.Pool}
	var own map[string]string
	for _, row := range rows {
		if row["lv_name"] == l.Pool {
			own = row
		}
		if row["pool_lv"] != l.Pool {
			continue
		}
		n, err := Numbers(row, "lv_size")
		if err != nil {
			return fmt.Errorf("logical volume %s/%s: %w", l.VG, row["lv_name"], err)
		}
		p.Virtual += n[0]
	}
	if err := p.usable(own); err != nil {
		return err
	}
	f.Pool = p
	f.Free, err = p.read(own)
	return err
}

// usable says why no thin volume can be made in a pool, of which lvs says row.
func (p *Pool) usable(row map[string]string) error {
	switch {
	case row == nil:
		vg, pool, _ := strings.Cut(p.Name, "/")
		return fmt.Errorf("there is no thin pool %s: `lvcreate --type thin-pool --size SIZE --name %s %s` makes one", p.Name, pool, vg)
	case row["segtype"] != "thin-pool":
		return fmt.Errorf("%s is no thin pool, but %s: lvs -o +segtype lists what is", p.Name, row["segtype"])
	case row["data_percent"] == "":
		return fmt.Errorf("thin pool %s isn't active: lvchange --activate y %s", p.Name, p.Name)
	case row["zero"] != "zero": // "unknown" is no promise
		return fmt.Errorf("thin pool %s doesn't zero what it gives out: what other volumes held would show in new ones; lvchange --zero y %s", p.Name, p.Name)
	case row["lv_health_status"] != "" && row["lv_health_status"] != "out_of_data":
		return fmt.Errorf("thin pool %s is unwell (%s): lvconvert --repair and lvmthin(7)", p.Name, row["lv_health_status"])
	}
	return nil
}

// read takes the numbers of a pool, and returns how much of its data is free.
func (p *Pool) read(row map[string]string) (free int64, err error) {
	n, err := Numbers(row, "lv_size", "lv_metadata_size", "chunk_size")
	if err != nil {
		return 0, fmt.Errorf("thin pool %s: %w", p.Name, err)
	}
	if n[0] < 0 || n[1] < 0 || n[2] <= 0 {
		return 0, fmt.Errorf("thin pool %s: lvs reports %d bytes of data and %d of metadata in chunks of %d", p.Name, n[0], n[1], n[2])
	}
	p.Size, p.Chunk, p.Waits = n[0], n[2], row["lv_when_full"] == "queue"
	if free, err = left(n[0], row["data_percent"]); err == nil {
		p.Metadata, err = left(n[1], row["metadata_percent"])
	}
	if err != nil {
		return 0, fmt.Errorf("thin pool %s: %w", p.Name, err)
	}
	return free, nil
}

// left is what is free of size bytes of which LVM says that so many per cent, with
// two decimals, are taken.
func left(size int64, percent string) (int64, error) {
	taken, err := strconv.ParseFloat(percent, 64)
	if err != nil || !(taken >= 0 && taken <= 100) { // NaN is neither
		return 0, fmt.Errorf("%q, want a percentage", percent)
	}
	return int64(float64(size) * (100 - taken) / 100), nil
}

// Blank asks the kernel for the end of what was written to a thin volume; see
// [Storage].
func (l LVM) Blank(ctx context.Context, v Volume) (from int64, ok bool, err error) {
	if err := l.owns(v); err != nil || l.Pool == "" {
		return 0, false, err
	}
	fi, err := os.Stat(v.Path)
	if err != nil {
		return 0, false, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false, fmt.Errorf("%s: no device number", v.Path)
	}
	out, err := l.run(ctx, "dmsetup", "status", "--major", strconv.Itoa(int(unix.Major(st.Rdev))), "--minor", strconv.Itoa(int(unix.Minor(st.Rdev))))
	if err == nil {
		from, err = written(string(out))
	}
	if err != nil {
		return 0, false, fmt.Errorf("what was written to %s: %w", v, err)
	}
	return from, true, nil
}

// written is the end, in bytes, of what was ever written to a thin volume, from its
// status: "0 24576 thin 1024 2047", the numbers being sectors that are mapped and
// the last of them, or "-" (the kernel's thin-provisioning.rst).
func written(status string) (int64, error) {
	f := strings.Fields(status)
	if len(f) != 5 || f[2] != "thin" {
		return 0, fmt.Errorf("its status is %q, want that of a thin volume that works", strings.TrimSpace(status))
	}
	if f[3] == "0" && f[4] == "-" {
		return 0, nil
	}
	const sector, most = 512, 1 << 53
	last, err := strconv.ParseInt(f[4], 10, 64)
	if err != nil || last < 0 || last > most {
		return 0, fmt.Errorf("its status is %q, want the last sector that is mapped", strings.TrimSpace(status))
	}
	return (last + 1) * sector, nil
}
