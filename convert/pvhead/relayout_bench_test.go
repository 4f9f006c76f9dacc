package pvhead

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/host"
	"esxodus/convert/layout"
	esxisource "esxodus/convert/source"
	"esxodus/disk"
	"esxodus/fixtures"
	"esxodus/fixtures/esxi"
	source "esxodus/inventory/esxi"
)

// BenchmarkRelayout copies the same disk from an ESXi host on loopback as it
// is, and into a volume group that LVM's tools make first. BENCH_DIR is where
// source and target go (a tmpfs takes the disk out of it; it needs 8 GiB):
//
//	go test ./convert/host -run '^$' -bench Relayout -benchtime 5x
//
// BenchmarkRelayout/template is what only the second one has to do, once per
// virtual machine, however large its disks are.
func BenchmarkRelayout(b *testing.B) {
	const size = 4 << 30
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "relayout") //nolint:usetesting // may have to be on another file system than b.TempDir
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	img := remote(b, dir, size)
	g := guest.Guest{OS: "linux", Distro: "debian", Root: "scsi0:0 partition 1", Kernels: []string{"6"}, Disks: []guest.DiskLayout{{
		Address: "scsi0:0", Size: size, Table: "mbr", Partitions: []guest.Partition{
			{Number: 1, Offset: mib, Length: 3900 * mib, Content: "ext4", Mount: "/"},
			{Number: 2, Offset: 3901 * mib, Length: 195 * mib, Content: "swap"},
		},
	}}}
	layouts := map[layout.Kind]layout.Layout{}
	for _, kind := range []layout.Kind{layout.Keep, layout.LVM} {
		layouts[kind] = layout.New(layout.Request{Kind: kind, Guest: g})
		if l := layouts[kind]; l.Kind != kind {
			b.Fatalf("New = %s: %q", l.Kind, l.Reasons)
		}
	}
	b.Run("template", func(b *testing.B) {
		for b.Loop() {
			template(b, layouts[layout.LVM], img, dir)
		}
	})
	// By turns, so that a machine that slows down slows both.
	for _, name := range []string{"first", "second", "third"} {
		for _, kind := range []layout.Kind{layout.Keep, layout.LVM} {
			b.Run(string(kind)+"/"+name, func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					relayout(b, layouts[kind], img, dir)
				}
			})
		}
	}
}

// remote makes a disk of random data in dir, and opens it through an ESXi host.
func remote(b *testing.B, dir string, size int64) disk.Image {
	b.Helper()
	guests := filepath.Join(dir, "guests", "bench")
	if err := os.MkdirAll(guests, 0o755); err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(filepath.Join(guests, "bench-flat.vmdk"))
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), size)
	err = errors.Join(err, f.Close(), os.WriteFile(filepath.Join(guests, "bench.vmdk"), []byte(fixtures.Descriptor(size/sector, "bench-flat.vmdk")), 0o644))
	if err != nil {
		b.Fatal(err)
	}
	h, err := esxi.Start(b.Context(), esxi.Options{Dir: filepath.Dir(guests)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.Close() })
	u, _, err := source.ParseURL(h.URL())
	if err != nil {
		b.Fatal(err)
	}
	client, err := source.Dial(b.Context(), source.Config{URL: u, Password: source.Secret(h.Password()), Thumbprint: h.Thumbprint()})
	if err != nil {
		b.Fatal(err)
	}
	img, end, err := esxisource.OpenVMDK(b.Context(), client, "[datastore1] bench/bench.vmdk")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { end() })
	return img
}

// template has LVM's tools make the head of the only disk.
func template(b *testing.B, l layout.Layout, img disk.Image, dir string) string {
	b.Helper()
	heads, err := Make(b.Context(), host.Tool{}, dir, l.Groups, func(string) (io.ReaderAt, error) { return img, nil })
	if err != nil {
		b.Fatal(err)
	}
	return heads["scsi0:0"]
}

// relayout does all that a copy into a layout takes.
func relayout(b *testing.B, l layout.Layout, img disk.Image, dir string) {
	b.Helper()
	var maps []disk.Mapping
	if len(l.Groups) > 0 {
		head, err := disk.OpenRaw(template(b, l, img, dir), false)
		if err != nil {
			b.Fatal(err)
		}
		defer head.Close()
		maps = append(maps, disk.Mapping{Source: head, Length: l.Disks[0].Head})
	}
	for _, r := range l.Disks[0].Ranges {
		maps = append(maps, disk.Mapping{Source: img, SourceOffset: r.Source, TargetOffset: r.Target, Length: r.Length})
	}
	target := filepath.Join(dir, "target.raw")
	dst, err := disk.CreateRaw(target, l.Disks[0].Size)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := disk.Copy(b.Context(), dst, maps, disk.Options{}); err != nil {
		b.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		b.Fatal(err)
	}
	if err := os.Remove(target); err != nil {
		b.Fatal(err)
	}
}
