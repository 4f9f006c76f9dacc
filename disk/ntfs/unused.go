package ntfs

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"slices"

	"esxodus/disk"
	"esxodus/disk/internal/freemap"
)

// readBytes is what is read of the bitmap at a time.
const readBytes = 1 << 20

// Unused yields the runs of bytes, from the start of the volume, that hold
// nothing: ascending, disjoint, not touching, each inside the size given to
// [Open]. They are the clusters that $Bitmap calls free. What lies behind the last
// cluster counts as used: the copy of the boot sector is there.
//
// The volume must have been unmounted, and Windows must neither be hibernated nor
// keep shadow copies on it. A [disk.UntrustedError] says why nothing can be told;
// other errors are those of reading. After an error whatever was yielded before
// is void. It keeps 6 MiB at most, and asks ctx before each read of the bitmap.
func (f *FS) Unused(ctx context.Context) iter.Seq2[disk.Range, error] {
	return freemap.Runs(func(yield func(disk.Range) bool) error { return freemap.Untrusting(f.unused(ctx, yield), ErrFormat) })
}

func (f *FS) unused(ctx context.Context, yield func(disk.Range) bool) error {
	if f.encrypted {
		return freemap.Untrusted("it is encrypted by BitLocker")
	}
	for _, look := range []func() error{f.clean, f.closed, f.awake, f.unshadowed} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := look(); err != nil {
			return f.orAsleep(err)
		}
	}
	s, err := f.open(recordBitmap, typeData, "")
	if err != nil {
		return fmt.Errorf("$Bitmap: %w", err)
	}
	if have := min(s.valid, s.size); have < uint64(f.clusters+7)/8 {
		return freemap.Untrusted("$Bitmap has %d bytes for %d clusters", have, f.clusters)
	}
	if slices.ContainsFunc(s.runs, func(r run) bool { return r.lcn < 0 }) {
		return freemap.Untrusted("$Bitmap has holes")
	}
	used, err := f.fixed(s)
	if err != nil {
		return err
	}
	return f.scan(ctx, s, func(first, count int64) error {
		for len(used) > 0 && used[0].lcn+used[0].count <= first {
			used = used[1:]
		}
		if len(used) > 0 && used[0].lcn < first+count {
			return freemap.Untrusted("clusters %d to %d are free by $Bitmap, but the volume's own files are there", first, first+count)
		}
		if !yield(disk.Range{Offset: first * f.cluster, Length: count * f.cluster}) {
			return freemap.ErrStopped
		}
		return nil
	})
}

// orAsleep is why nothing can be told, but where Windows sleeps here it is that: it
// concerns other volumes as well, some of which may look closed, this one not.
func (f *FS) orAsleep(err error) error {
	if u, ok := errors.AsType[*disk.UntrustedError](f.awake()); ok && u.Asleep {
		return u
	}
	return err
}

// fixed lists what is known to be used without a look at the files, by place: the
// boot sector with what belongs to it, the master file table with its copy, the
// log and $Bitmap.
func (f *FS) fixed(bitmap *stream) ([]run, error) {
	log, err := f.open(recordLog, typeData, "")
	if err != nil {
		return nil, err
	}
	used := []run{{count: (bootBytes + f.cluster - 1) / f.cluster}, {lcn: f.mirror, count: (f.mirrorBytes + f.cluster - 1) / f.cluster}}
	for _, s := range []*stream{f.mft, log, bitmap} {
		used = append(used, s.runs...)
	}
	used = slices.DeleteFunc(used, func(r run) bool { return r.lcn < 0 })
	slices.SortFunc(used, func(a, b run) int { return cmp.Compare(a.lcn, b.lcn) })
	return used, nil
}

// scan calls free for each run of clusters whose bits in the bitmap are 0.
func (f *FS) scan(ctx context.Context, bitmap *stream, free func(first, count int64) error) error {
	b := make([]byte, readBytes)
	begin := int64(-1) // of the run that isn't at its end yet
	for at := int64(0); at < f.clusters; at += readBytes * 8 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(f.clusters-at, readBytes*8)
		if err := bitmap.read(b[:(n+7)/8], uint64(at/8)); err != nil { // not negative
			return fmt.Errorf("$Bitmap: %w", err)
		}
		for i := int64(0); i < n; {
			used := begin >= 0
			next := min(n, i+same(b[i/8:(n+7)/8], uint(i%8), !used))
			switch {
			case next == n: // it may go on
			case used:
				if err := free(begin, at+next-begin); err != nil {
					return err
				}
				begin = -1
			default:
				begin = at + next
			}
			i = next
		}
	}
	if begin >= 0 {
		return free(begin, f.clusters-begin)
	}
	return nil
}

// same is how many bits from one of the first byte on are ones, or zeros.
func same(b []byte, from uint, ones bool) int64 {
	flip := uint64(0) // makes what is looked for zeros
	if ones {
		flip = 1<<64 - 1
	}
	n := int64(0)
	for len(b) > 0 {
		var word [8]byte
		bytes := copy(word[:], b)
		v := (binary.LittleEndian.Uint64(word[:]) ^ flip) >> from
		valid := int64(8*bytes) - int64(from)
		if zeros := min(int64(bits.TrailingZeros64(v)), valid); zeros < valid {
			return n + zeros
		}
		n, b, from = n+valid, b[bytes:], 0
	}
	return n
}
