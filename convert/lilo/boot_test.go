package lilo

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/fixtures"
)

// bootable is a disk with two images, of which the first has an initrd.
func bootable(tb testing.TB) (*testDisk, *Menu) {
	tb.Helper()
	d := newTestDisk(16384)
	initrd := d.file("initrd", noise(1<<20+6, 7), 300)
	return d, &Menu{
		Images: []Image{
			{Label: "Linux", Alias: "new", Cmdline: "root=/dev/vg/root ro", Kernel: d.file("vmlinuz", payload(tb, 1<<20, 1), 200), Initrd: &initrd},
			{Label: "LinuxOLD", Cmdline: "root=/dev/old", Kernel: d.file("vmlinuz.old", payload(tb, 70000, 2), 1)},
		},
		Serial: &Serial{Port: 0, BPS: 115200, Parity: 'n', Bits: 8},
	}
}

const (
	autoLinux = "auto BOOT_IMAGE=Linux root=/dev/vg/root ro"
	linux     = "BOOT_IMAGE=Linux root=/dev/vg/root ro"
	autoOld   = "auto BOOT_IMAGE=LinuxOLD root=/dev/old"
)

// starts checks which kernel was started with what command line, and that it
// and the initrd are where and what they should be.
func (m *machine) starts(d *testDisk, menu *Menu, want string) {
	m.tb.Helper()
	got := m.payload()
	if strings.TrimRight(got.line, " ") != want {
		m.tb.Errorf("command line %q; want %q", got.line, want)
	}
	label := strings.Fields(strings.TrimPrefix(want, "auto "))[0]
	img := &menu.Images[0]
	for i := range menu.Images {
		if "BOOT_IMAGE="+menu.Images[i].Label == label {
			img = &menu.Images[i]
		}
	}
	kernel := d.files[img.Kernel.Path]
	setup, err := ParseSetup(kernel)
	if err != nil {
		m.tb.Fatal(err)
	}
	var initrd []byte
	if img.Initrd != nil {
		initrd = d.files[img.Initrd.Path]
	}
	rest := kernel[setup.Size:]
	at, err := setup.Place(got.ram, uint64(len(rest)), uint64(len(initrd)))
	if err != nil {
		m.tb.Fatal(err)
	}
	if got.initrd != at || got.size != uint64(len(initrd)) {
		m.tb.Errorf("initrd of %d bytes at %#x; want %d at %#x", got.size, got.initrd, len(initrd), at)
	}
	wantSums := [2]uint64{uint64(sum(streamSeed, rest)), uint64(sum(streamSeed, initrd[:len(initrd)&^3]))}
	if gotSums := [2]uint64{got.kernelSum, got.initrdSum}; gotSums != wantSums {
		m.tb.Errorf("sums of kernel and initrd in memory %x; want %x", gotSums, wantSums)
	}
	if got.loader != 0xff || got.flags != 0x81 || got.heap != 0xde00 || got.ss != 0x1000 || got.sp != 0xe000 {
		m.tb.Errorf("boot protocol's fields %+v", got)
	}
}

func TestBootsTheDefault(t *testing.T) {
	for _, tt := range []struct {
		name string
		hw   hardware
		low  bool
	}{
		{"virtio-blk", hardware{bus: "virtio-blk"}, true},
		{"virtio-scsi", hardware{bus: "virtio-scsi"}, true},
		{"AHCI", hardware{bus: "ahci"}, true},
		{"older board", hardware{board: "pc", memory: 4096}, true},
		{"stage 2 in the map only", hardware{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			d.install(t, m, tt.low)
			vm := tt.hw.boot(t, d.save(t))
			vm.expect("LILO ")
			vm.starts(d, m, autoLinux)
		})
	}
}

// TestPlacesAsGo compares where the loader puts the initrd with what Place says
// for the memory map of that machine (in starts).
func TestPlacesAsGo(t *testing.T) {
	le := binary.LittleEndian
	for _, tt := range []struct {
		name   string
		memory int
		change func(setup []byte)
		fails  string // what the loader says instead
	}{
		{name: "256 MiB", memory: 256},
		{name: "1 GiB", memory: 1024},
		{name: "3 GiB", memory: 3072},
		{name: "4 GiB", memory: 4096},
		{name: "8 GiB", memory: 8192},
		{name: "initrd anywhere", memory: 8192, change: func(b []byte) { le.PutUint32(b[setupInitrd:], 0xffffffff) }},
		{name: "initrd low", memory: 256, change: func(b []byte) { le.PutUint32(b[setupInitrd:], 0x5123456) }},
		{name: "protocol 2.09 needs no init_size", memory: 64, change: func(b []byte) { le.PutUint16(b[setupVersion:], 0x209) }},
		{name: "protocol 2.02", memory: 2048, change: func(b []byte) { le.PutUint16(b[setupVersion:], 0x202) }},
		{name: "just enough", memory: 64, change: func(b []byte) { le.PutUint32(b[setupInitSize:], 0x3edc000-0x1000000) }},
		{name: "a byte too little", memory: 64, fails: "Its initrd doesn't fit", change: func(b []byte) { le.PutUint32(b[setupInitSize:], 0x3edc001-0x1000000) }},
		{name: "kernel too large", memory: 64, fails: "Its kernel doesn't fit", change: func(b []byte) { le.PutUint32(b[setupInitSize:], 0x4000000) }},
		{name: "kernel beyond 4 GiB", memory: 64, fails: "Its kernel doesn't fit", change: func(b []byte) { le.PutUint32(b[setupPref+4:], 1) }},
		{name: "need beyond 4 GiB", memory: 64, fails: "Its kernel doesn't fit", change: func(b []byte) { le.PutUint32(b[setupInitSize:], 0xffffffff) }},
		{name: "initrd below the kernel's end", memory: 128, fails: "Its initrd doesn't fit", change: func(b []byte) { le.PutUint32(b[setupInitrd:], 0x2ffffff) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			if tt.change != nil {
				k := bytes.Clone(d.files["vmlinuz"])
				tt.change(k)
				m.Images[0].Kernel = d.file("vmlinuz", k, 2000)
			}
			d.install(t, m, true)
			vm := hardware{memory: tt.memory}.boot(t, d.save(t))
			if tt.fails != "" {
				vm.expect(tt.fails + ": give the machine more memory.")
				vm.starts(d, m, autoOld)
				return
			}
			vm.starts(d, m, autoLinux)
		})
	}
}

// far is above sector 2^32.
const far = 5 << 30

// installFar installs the menu with the map and the files above that sector. It
// returns the disk's file.
func (d *testDisk) installFar(t *testing.T, m *Menu) string {
	t.Helper()
	for i := range m.Images {
		for k := range m.Images[i].Kernel.Runs {
			m.Images[i].Kernel.Runs[k].LBA += far
		}
	}
	for k := range m.Images[0].Initrd.Runs {
		m.Images[0].Initrd.Runs[k].LBA += far
	}
	n, err := Sectors(m)
	if err != nil {
		t.Fatal(err)
	}
	lbas := make([]uint64, n)
	for i := range lbas {
		lbas[i] = far + d.free + uint64(i)
	}
	b, err := Encode(m, lbas, d.open)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := BootSector(b, lbas, true)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(d.bytes[d.free*SectorSize:], b)
	for off, part := range map[int64][]byte{
		0: boot[:], SectorSize: []byte("LABELONE"), Stage2Sector * SectorSize: Stage2(), far * SectorSize: d.bytes,
	} {
		if _, err := f.WriteAt(part, off); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Verify(t.Context(), f, far*SectorSize+int64(len(d.bytes)))
	if err != nil || report.Highest < far {
		t.Errorf("Verify = %+v, %v; want a highest sector above %d", report, err, uint64(far))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBeyond2TiB shows which bus can boot from there.
func TestBeyond2TiB(t *testing.T) {
	fixtures.Rung(t, "lab")
	t.Run("virtio-blk", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		vm := hardware{}.boot(t, d.installFar(t, m))
		vm.starts(d, m, autoLinux)
	})
	t.Run("virtio-scsi", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		vm := hardware{bus: "virtio-scsi"}.boot(t, d.installFar(t, m))
		vm.expect("The boot map can't be read: disk error 01 at sector 00014000")
		vm.expect("use that,\nor move /boot to the front of the disk.\n")
	})
}

// TestNoSuchSerialPort has a map that wants COM4.
func TestNoSuchSerialPort(t *testing.T) {
	fixtures.Rung(t, "lab")
	t.Parallel()
	d, m := bootable(t)
	m.Serial.Port = 3
	d.install(t, m, true)
	vm := hardware{}.boot(t, d.save(t))
	vm.starts(d, m, autoLinux)
}

// TestSecondSerialPort types there.
func TestSecondSerialPort(t *testing.T) {
	fixtures.Rung(t, "lab")
	t.Parallel()
	d, m := bootable(t)
	m.Prompt, m.Serial = true, &Serial{Port: 1, BPS: 9600, Parity: 'e', Bits: 7}
	d.install(t, m, true)
	vm := hardware{com2: true}.boot(t, d.save(t))
	vm.expect("LILO \nboot: ")
	vm.send("new\r")
	vm.expect("new\nLoading Linux")
}

// TestRestart presses the key that is asked for when nothing can be done.
func TestRestart(t *testing.T) {
	t.Parallel()
	d, m := bootable(t)
	_, lbas := d.install(t, m, true)
	clear(d.bytes[lbas[0]*SectorSize:][:SectorSize])
	vm := hardware{}.boot(t, d.save(t))
	vm.expect("Press a key to restart.\n")
	vm.send(" ")
	for deadline := time.After(10 * time.Minute); !vm.ended(); {
		select {
		case <-vm.more:
		case <-deadline:
			t.Fatal("no restart")
		}
	}
}
