package host

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"esxodus/convert/guest"
	"esxodus/convert/layout"
	"esxodus/disk"
)

// BenchmarkRelayout copies the same disk as it is, and into a volume group
// that LVM's tools make first:
//
//	go test ./convert/host -run '^$' -bench Relayout -benchtime 10x
func BenchmarkRelayout(b *testing.B) {
	const size = 1 << 30
	path := filepath.Join(b.TempDir(), "source.raw")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), size); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	img, err := disk.OpenRaw(path, false)
	if err != nil {
		b.Fatal(err)
	}
	defer img.Close()
	g := guest.Guest{OS: "linux", Distro: "debian", Root: "scsi0:0 partition 1", Kernels: []string{"6"}, Disks: []guest.DiskLayout{{
		Address: "scsi0:0", Size: size, Table: "mbr", Partitions: []guest.Partition{
			{Number: 1, Offset: mib, Length: 900 * mib, Content: "ext4", Mount: "/"}, {Number: 2, Offset: 901 * mib, Length: 123 * mib, Content: "swap"},
		},
	}}}
	for _, kind := range []layout.Kind{layout.Keep, layout.LVM} {
		b.Run(string(kind), func(b *testing.B) {
			b.SetBytes(size)
			l := layout.New(layout.Request{Kind: kind, Guest: g})
			if l.Kind != kind {
				b.Fatalf("New = %s: %q", l.Kind, l.Reasons)
			}
			dir := b.TempDir()
			for b.Loop() {
				relayout(b, l, img, dir)
			}
		})
	}
}

// relayout does all that a copy into a layout takes.
func relayout(b *testing.B, l layout.Layout, img disk.Image, dir string) {
	b.Helper()
	var maps []disk.Mapping
	if len(l.Groups) > 0 {
		heads, err := Templates(b.Context(), Tool{}, dir, l.Groups, func(string) (io.ReaderAt, error) { return img, nil })
		if err != nil {
			b.Fatal(err)
		}
		head, err := disk.OpenRaw(heads["scsi0:0"], false)
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
