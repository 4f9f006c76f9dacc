package lilo

import (
	"bytes"
	"encoding/binary"
	"testing"

	"esxodus/fixtures"
)

// TestDamage changes the disk after all was installed.
func TestDamage(t *testing.T) {
	// flip changes a byte of a sector.
	flip := func(d *testDisk, lba uint64, at int) { d.bytes[lba*SectorSize+uint64(at)] ^= 0x10 }
	list := func(mapFile []byte, image, ref int) uint64 {
		le := binary.LittleEndian
		lba := le.Uint64(mapFile[headerImageAt+8*image:])
		index, err := ownSectors(mapFile)
		if err != nil {
			t.Fatal(err)
		}
		return le.Uint64(mapFile[index[lba]*SectorSize+ref:])
	}
	// entry changes the first image's descriptor.
	entry := func(d *testDisk, _ *Menu, b []byte, _ []uint64) {
		flip(d, binary.LittleEndian.Uint64(b[headerImageAt:]), 60)
	}
	for _, tt := range []struct {
		name   string
		change func(m *Menu)
		harm   func(d *testDisk, m *Menu, mapFile []byte, lbas []uint64)
		want   []string // on the console, in order
		line   string   // of the kernel that is started, if any
	}{
		{
			name: "kernel",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) { flip(d, m.Images[0].Kernel.Runs[3].LBA+7, 99) },
			want: []string{"Loading Linux", "Its kernel has changed since lilo ran (wrong sum).", "Booting the next image instead. Run lilo there.", "Loading LinuxOLD"},
			line: autoOld,
		},
		{
			name: "kernel's setup code",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) { flip(d, m.Images[0].Kernel.Runs[0].LBA+4, 511) },
			want: []string{"Its kernel has changed since lilo ran"},
			line: autoOld,
		},
		{
			name: "last byte of the initrd",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) {
				runs := m.Images[0].Initrd.Runs
				flip(d, runs[len(runs)-1].LBA+uint64(runs[len(runs)-1].Count)-1, 5)
			},
			want: []string{"Its initrd has changed since lilo ran"},
			line: autoOld,
		},
		{
			name: "behind the initrd's last byte",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) {
				runs := m.Images[0].Initrd.Runs
				flip(d, runs[len(runs)-1].LBA+uint64(runs[len(runs)-1].Count)-1, 6)
			},
			line: autoLinux,
		},
		{
			name: "kernel's list",
			harm: func(d *testDisk, _ *Menu, b []byte, _ []uint64) { flip(d, list(b, 0, imageKernelAt), 20) },
			want: []string{"Its kernel isn't where lilo left it: sector "},
			line: autoOld,
		},
		{
			name: "command line",
			harm: func(d *testDisk, _ *Menu, b []byte, _ []uint64) { flip(d, list(b, 0, imageCmdlineAt), 20) },
			want: []string{"Its command line isn't where lilo left it: sector "},
			line: autoOld,
		},
		{
			name: "default image's entry",
			harm: entry,
			want: []string{"The boot map's entry of an image isn't where lilo left it: sector ", "Booting the next image instead. Run lilo there.", "Loading LinuxOLD"},
			line: autoOld,
		},
		{
			name:   "default image's entry, and nobody at the prompt",
			change: func(m *Menu) { m.Prompt, m.Timeout = true, 10 },
			harm:   entry,
			want:   []string{"The boot map's entry of an image", "\nboot: ", "Booting the next image instead. Run lilo there."},
			line:   autoOld,
		},
		{
			name:   "default image's entry, which is the last one",
			change: func(m *Menu) { m.Images[0], m.Images[1], m.Default = m.Images[1], m.Images[0], 1 },
			harm: func(d *testDisk, _ *Menu, b []byte, _ []uint64) {
				flip(d, binary.LittleEndian.Uint64(b[headerImageAt+8:]), 60)
			},
			want: []string{"The boot map's entry of an image", "Booting the next image instead. Run lilo there."},
			line: autoOld,
		},
		{
			name: "all entries",
			harm: func(d *testDisk, m *Menu, b []byte, lbas []uint64) {
				entry(d, m, b, lbas)
				flip(d, binary.LittleEndian.Uint64(b[headerImageAt+8:]), 60)
			},
			want: []string{"The boot map's entry of an image", "The boot map's entry of an image", "No image is left. Start a rescue system", "\nboot: "},
		},
		{
			name: "everything",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) {
				flip(d, m.Images[0].Kernel.Runs[3].LBA+7, 99)
				flip(d, m.Images[1].Kernel.Runs[3].LBA, 99)
			},
			want: []string{"Loading Linux", "Loading LinuxOLD", "Its kernel has changed", "No image is left. Start a rescue system", "lilo -v -r /mnt", "\nboot: "},
		},
		{
			name: "beyond the disk's end",
			harm: func(d *testDisk, m *Menu, _ []byte, _ []uint64) {
				d.bytes = d.bytes[:m.Images[1].Kernel.Runs[0].LBA*SectorSize]
			},
			want: []string{"LI"},
		},
		{
			name: "map's header",
			harm: func(d *testDisk, _ *Menu, _ []byte, lbas []uint64) { flip(d, lbas[0], 200) },
			want: []string{"LILO", "The boot map isn't where lilo left it: sector ", "Start a rescue system", "lilo -v -r /mnt", "Press a key"},
		},
		{
			name: "another map's header",
			harm: func(d *testDisk, m *Menu, b []byte, lbas []uint64) {
				c := bytes.Clone(b[:SectorSize])
				seal(c, binary.LittleEndian.Uint32(c[headerIDAt:])+1)
				copy(d.bytes[lbas[0]*SectorSize:], c)
			},
			want: []string{"The boot map isn't where lilo left it: sector "},
		},
		{
			name: "overlay",
			harm: func(d *testDisk, _ *Menu, _ []byte, lbas []uint64) { flip(d, lbas[stage2Index+Stage2Sectors], 0) },
			want: []string{"The boot map has changed since lilo ran (wrong sum).", "lilo -v -r /mnt"},
		},
		{
			name: "stage 2 in sectors 2 to 7, as after a power cut",
			harm: func(d *testDisk, _ *Menu, _ []byte, _ []uint64) { flip(d, 5, 0) },
			line: autoLinux,
		},
		{
			name: "stage 2 in the map",
			harm: func(d *testDisk, _ *Menu, _ []byte, lbas []uint64) { flip(d, lbas[stage2Index], 0) },
			line: autoLinux,
		},
		{
			name: "stage 2 in both places",
			harm: func(d *testDisk, _ *Menu, _ []byte, lbas []uint64) {
				flip(d, 5, 0)
				flip(d, lbas[stage2Index], 0)
			},
			want: []string{"LS"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			if tt.change != nil {
				tt.change(m)
			}
			b, lbas := d.install(t, m, true)
			tt.harm(d, m, b, lbas)
			if _, err := Verify(t.Context(), bytes.NewReader(d.bytes), int64(len(d.bytes))); err == nil && tt.name != "behind the initrd's last byte" {
				t.Errorf("Verify finds nothing wrong")
			} else {
				t.Logf("Verify: %v", err)
			}
			vm := hardware{}.boot(t, d.save(t))
			for _, text := range tt.want {
				vm.expect(text)
			}
			if tt.line != "" {
				vm.starts(d, m, tt.line)
			}
		})
	}
}

// TestUnreadable has a sector among stage 2's that the disk can't read: the copy
// in the map is taken.
func TestUnreadable(t *testing.T) {
	fixtures.Rung(t, "lab")
	for _, tt := range []struct {
		name   string
		bus    string
		sector int
	}{
		{"first sector", "virtio-blk", Stage2Sector},
		{"last sector of its code", "virtio-blk", Stage2Sector + 3},
		{"on virtio-scsi", "virtio-scsi", Stage2Sector + 1},
		{"on AHCI", "ahci", Stage2Sector + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, m := bootable(t)
			d.install(t, m, true)
			vm := hardware{bus: tt.bus, bad: tt.sector}.boot(t, d.save(t))
			vm.expect("LILO ")
			vm.starts(d, m, autoLinux)
		})
	}
	t.Run("in a kernel", func(t *testing.T) {
		t.Parallel()
		d, m := bootable(t)
		d.install(t, m, true)
		vm := hardware{bad: int(m.Images[0].Kernel.Runs[3].LBA) + 7}.boot(t, d.save(t))
		vm.expect("Its kernel can't be read: disk error ")
		vm.starts(d, m, autoOld)
	})
}
