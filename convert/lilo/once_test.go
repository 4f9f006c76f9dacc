package lilo

import (
	"os"
	"testing"
)

// oneShot returns the one-shot line on the disk.
func oneShot(tb testing.TB, disk string, lbas []uint64) string {
	tb.Helper()
	f, err := os.Open(disk)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, len(lbas)*SectorSize)
	for i, lba := range lbas {
		if _, err := f.ReadAt(b[i*SectorSize:][:SectorSize], int64(lba)*SectorSize); err != nil {
			tb.Fatal(err)
		}
	}
	m, err := Decode(b)
	if err != nil {
		tb.Fatal(err)
	}
	return m.OneShot
}

// TestOneShot boots the same disk several times.
func TestOneShot(t *testing.T) {
	for _, tt := range []struct {
		name   string
		bus    string
		change func(m *Menu)
		want   []string // command lines of the boots
		left   string   // the one-shot line after each
	}{
		{
			name:   "once",
			change: func(m *Menu) { m.OneShot = "LinuxOLD single" },
			want:   []string{"BOOT_IMAGE=LinuxOLD root=/dev/old single", autoLinux},
		},
		{
			name:   "on virtio-scsi",
			bus:    "virtio-scsi",
			change: func(m *Menu) { m.OneShot = "LinuxOLD single" },
			want:   []string{"BOOT_IMAGE=LinuxOLD root=/dev/old single", autoLinux},
		},
		{
			name:   "lock",
			change: func(m *Menu) { m.OneShot, m.Images[1].Lock = "LinuxOLD 1", true },
			want:   []string{"BOOT_IMAGE=LinuxOLD root=/dev/old 1", "BOOT_IMAGE=LinuxOLD root=/dev/old 1"},
			left:   "LinuxOLD 1",
		},
		{
			name:   "lock in the line",
			change: func(m *Menu) { m.OneShot = "LinuxOLD lock 1" },
			want:   []string{"BOOT_IMAGE=LinuxOLD root=/dev/old 1", "BOOT_IMAGE=LinuxOLD root=/dev/old 1"},
			left:   "LinuxOLD lock 1",
		},
		{
			name:   "fallback",
			change: func(m *Menu) { m.Images[0].Fallback = "LinuxOLD panic" },
			want:   []string{autoLinux, "BOOT_IMAGE=LinuxOLD root=/dev/old panic", autoLinux},
			left:   "LinuxOLD panic",
		},
		{
			name:   "unknown label",
			change: func(m *Menu) { m.OneShot = "Windows" },
			want:   []string{autoLinux, autoLinux},
		},
		{
			name: "no password for what root left there",
			change: func(m *Menu) {
				m.OneShot = "Linux single"
				m.Images[0].Password = &Password{Rounds: 1}
				m.Default = 1
			},
			want: []string{linux + " single", autoOld},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			tt.change(m)
			_, lbas := d.install(t, m, true)
			disk := d.save(t)
			for i, want := range tt.want {
				vm := hardware{bus: tt.bus}.boot(t, disk)
				vm.starts(d, m, want)
				vm.stop()
				left := tt.left
				if tt.name == "fallback" && i == 1 {
					left = "" // LinuxOLD has none
				}
				if got := oneShot(t, disk, lbas); got != left {
					t.Errorf("after boot %d the line is %q; want %q", i+1, got, left)
				}
			}
		})
	}
}

// TestOneShotOfALockedDisk can't erase the line, so it must not be used: it
// would be used for ever.
func TestOneShotOfALockedDisk(t *testing.T) {
	t.Parallel()
	d, m := bootable(t)
	m.OneShot, m.Images[0].Fallback = "LinuxOLD", "LinuxOLD"
	d.install(t, m, true)
	vm := hardware{locked: true}.boot(t, d.save(t))
	vm.expect("The one-shot command line isn't used, or it would be for ever: it can't be written: disk error ")
	vm.expect("The command line for the next boot can't be written: disk error ")
	vm.starts(d, m, autoLinux)
}
