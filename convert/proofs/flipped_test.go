package proofs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"esxodus/fixtures/machine"
)

// TestFlippedByte changes one byte of the kernel where it lies on the disk. The
// loader says so, and boots the next image.
func TestFlippedByte(t *testing.T) {
	s := converted(t, "debian-lvm")
	m := boot(t, s, machine.Config{})
	second(t, m)
	kernel := m.Must("readlink -f " + image(t, m, ""))
	const offset = 5<<20 + 12345 // into the kernel
	sector := locate(t, m, kernel, offset/512)
	at := int64(sector)*512 + offset%512
	read := fmt.Sprintf("dd if=/dev/vda bs=512 count=1 skip=%d iflag=direct status=none | md5sum", sector)
	file := fmt.Sprintf("dd if=%s bs=512 count=1 skip=%d status=none | md5sum", kernel, offset/512)
	if onDisk, inFile := m.Must(read), m.Must(file); onDisk != inFile {
		t.Fatalf("sector %d of the disk isn't sector %d of %s", sector, offset/512, kernel)
	}
	m.Must(fmt.Sprintf(`old=$(dd if=/dev/vda bs=1 skip=%[1]d count=1 status=none | od -An -tu1)
new=$(printf '\\%%03o' $((old ^ 1)))
printf "$new" | dd of=/dev/vda bs=1 seek=%[1]d conv=notrunc,fsync status=none`, at))
	if onDisk, inFile := m.Must(read), m.Must("cat "+kernel+" >/dev/null; "+file); onDisk == inFile {
		t.Log("the guest's own cache has the byte as well") // it needn't
	}
	m.Must("sync")
	m.Reset()
	m.Expect("Loading Linux", machine.BootPatience)
	m.Expect("has changed since lilo ran (wrong sum).", machine.BootPatience)
	m.Expect("Booting the next image instead. Run lilo there.", machine.BootPatience)
	m.Expect("Loading LinuxOLD", machine.BootPatience)
	m.Login("root", "esxodus")
	if out := m.Must("cat /proc/cmdline"); !strings.Contains(out, "BOOT_IMAGE=LinuxOLD ") {
		t.Errorf("command line = %q, want BOOT_IMAGE=LinuxOLD", out)
	}
	m.PowerOff(machine.BootPatience)
}

// second gives the guest a second kernel: a copy of the first, in blocks of its
// own, as an upgrade leaves one.
func second(t *testing.T, m *machine.Machine) {
	t.Helper()
	for _, key := range []string{"image", "initrd"} {
		link, old := entry(t, m, key, ""), entry(t, m, key, ".old")
		m.Must(fmt.Sprintf("f=$(readlink -f %[1]s) && cp $f $f-second && ln -sfn $f-second %[2]s", link, old))
	}
	if out := m.Must("lilo -v"); !strings.Contains(out, "LinuxOLD") {
		t.Fatalf("lilo -v = %q, want LinuxOLD in the map", out)
	}
}

func image(t *testing.T, m *machine.Machine, suffix string) string {
	t.Helper()
	return entry(t, m, "image", suffix)
}

// entry is a file name of lilo.conf: that of the first image, or with ".old" of
// the second.
func entry(t *testing.T, m *machine.Machine, key, suffix string) string {
	t.Helper()
	for _, found := range regexp.MustCompile(`(?m)^\s*`+key+`=(\S+)`).FindAllStringSubmatch(m.Must("cat /etc/lilo.conf"), -1) {
		if strings.HasSuffix(found[1], ".old") == (suffix == ".old") {
			return found[1]
		}
	}
	t.Fatalf("lilo.conf has no %s=…%s", key, suffix)
	return ""
}

// locate finds the disk's sector that holds a sector of a file: by the file's
// extents, and the table of the logical volume that it is in.
func locate(t *testing.T, m *machine.Machine, file string, sector int64) int64 {
	t.Helper()
	inVolume := int64(-1)
	// "   0:        0..   16383:     34816..     51199:  16384:   eof"
	extents := regexp.MustCompile(`(?m)^ *\d+: +(\d+)\.\. *(\d+): +(\d+)\.\. *(\d+):`)
	listing := m.Must("filefrag -v -b512 " + file)
	for _, x := range extents.FindAllStringSubmatch(listing, -1) {
		if first, last := number(t, x[1]), number(t, x[2]); first <= sector && sector <= last {
			inVolume = number(t, x[3]) + sector - first
		}
	}
	if inVolume < 0 {
		t.Fatalf("sector %d of %s isn't in its extents:\n%s", sector, file, listing)
	}
	segments := regexp.MustCompile(`(?m)^(\d+) (\d+) linear \d+:\d+ (\d+)$`)
	table := m.Must("dmsetup table $(findmnt -n -o SOURCE -T " + file + ")")
	for _, x := range segments.FindAllStringSubmatch(table, -1) {
		if start, length := number(t, x[1]), number(t, x[2]); start <= inVolume && inVolume < start+length {
			return number(t, x[3]) + inVolume - start
		}
	}
	t.Fatalf("sector %d isn't in the volume's table:\n%s", inVolume, table)
	return 0
}

func number(t *testing.T, digits string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
