package run

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/convert/lilo"
	"esxodus/convert/lilo/conf"
	"esxodus/convert/plan"
	"esxodus/convert/volume"
)

// bootDisk is a disk that LILO boots, with images of these labels. The first is
// the default.
func bootDisk(tb testing.TB, labels ...string) []byte {
	tb.Helper()
	const kernelAt, mapAt = 100, 200
	// What LILO wants of a kernel's setup header (Linux,
	// Documentation/arch/x86/boot.rst).
	kernel := make([]byte, 8*lilo.SectorSize)
	le := binary.LittleEndian
	copy(kernel[0x202:], "HdrS")
	le.PutUint16(kernel[0x206:], 0x20f)
	kernel[0x211] = 1
	le.PutUint32(kernel[0x22c:], 0x7fffffff)
	le.PutUint32(kernel[0x238:], 2047)
	le.PutUint64(kernel[0x258:], 0x1000000)
	le.PutUint32(kernel[0x260:], 0x2000000)
	menu := &lilo.Menu{Timeout: 20}
	file := lilo.File{Path: "kernel", Size: int64(len(kernel)), Runs: []lilo.Run{{LBA: kernelAt, Count: 8}}}
	for _, l := range labels {
		menu.Images = append(menu.Images, lilo.Image{Label: l, Cmdline: "ro", Kernel: file})
	}
	n, err := lilo.Sectors(menu)
	if err != nil {
		tb.Fatal(err)
	}
	lbas := make([]uint64, n)
	for i := range lbas {
		lbas[i] = mapAt + uint64(i)
	}
	m, err := lilo.Encode(menu, lbas, func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kernel)), nil })
	if err != nil {
		tb.Fatal(err)
	}
	boot, err := lilo.BootSector(m, lbas, false)
	if err != nil {
		tb.Fatal(err)
	}
	disk := make([]byte, 1<<20)
	copy(disk, boot[:])
	copy(disk[kernelAt*lilo.SectorSize:], kernel)
	copy(disk[mapAt*lilo.SectorSize:], m)
	return disk
}

// TestVerifyBoot: a disk that boots something else by itself than the plan says
// is none that boots.
func TestVerifyBoot(t *testing.T) {
	text := "default=%s\nimage=/vmlinuz\n\tlabel=Linux\n\talias=1\n\tinitrd=/initrd.img\n\toptional\nimage=/vmlinuz.old\n\tlabel=LinuxOLD\n\toptional\n"
	const otherLeft = "LinuxOLD would boot by default instead of Linux, which lilo skipped: make sure in the guest that /vmlinuz or /initrd.img points to a readable file"
	for _, tt := range []struct {
		name   string
		conf   string
		labels []string
		want   string // of the error
	}{
		{"as planned", fmt.Sprintf(text, "Linux"), []string{"Linux", "LinuxOLD"}, ""},
		{"the other one left out", fmt.Sprintf(text, "Linux"), []string{"Linux"}, ""},
		{"by its alias", fmt.Sprintf(text, "1"), []string{"Linux"}, ""},
		{"the default left out", fmt.Sprintf(text, "Linux"), []string{"LinuxOLD"}, otherLeft},
		{"the default left out, by its alias", fmt.Sprintf(text, "1"), []string{"LinuxOLD"}, otherLeft},
		{"the first one left out", strings.Replace(text, "default=%s\n", "", 1), []string{"LinuxOLD"}, otherLeft},
		{"no image", "default=Linux\n", []string{"Linux"}, "the planned /etc/lilo.conf: no image= line"},
		{"no planned lilo.conf", "", []string{"Linux"}, ""},
		{"no planned lilo.conf, the default left out", "", []string{"LinuxOLD"}, "LinuxOLD would boot by default instead of Linux"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(path, bootDisk(t, tt.labels...), 0o600); err != nil {
				t.Fatal(err)
			}
			c := &guest.Conversion{}
			if tt.conf != "" {
				c.Edits = []guest.Edit{{Path: conf.DefaultFile, Make: true, New: tt.conf}}
			}
			a := &executor{job: &plan.VMJob{VM: plan.VMPlan{
				Conversion: c, Layout: layout.Layout{Boot: &layout.Boot{Disk: "scsi0:0"}},
				Disks: []plan.Disk{{Address: "scsi0:0", Volume: volume.Volume{Path: path}}},
			}}}
			report, err := a.verifyBoot(t.Context())
			switch {
			case tt.want == "" && (err != nil || report.Default != tt.labels[0]):
				t.Errorf("verifyBoot = %+v, %v; want %s", report, err, tt.labels[0])
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("verifyBoot = %+v, %v; want %s", report, err, tt.want)
			}
		})
	}
}
