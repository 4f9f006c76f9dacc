package initrd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"esxodus/convert/guest"
)

// block decompresses a block of LZ4.
func block(b []byte) ([]byte, error) {
	bad := errors.New("decoding failed")
	var out []byte
	length := func(n int) int {
		for more := n == 15; more && len(b) > 0; b = b[1:] {
			n += int(b[0])
			more = b[0] == 255
		}
		return n
	}
	for len(b) > 0 {
		token := b[0]
		b = b[1:]
		n := length(int(token >> 4))
		if n > len(b) {
			return nil, bad
		}
		out, b = append(out, b[:n]...), b[n:]
		if len(b) == 0 {
			return out, nil
		}
		if len(b) < 2 {
			return nil, bad
		}
		back := int(binary.LittleEndian.Uint16(b))
		b = b[2:]
		n = length(int(token&15)) + 4
		if back == 0 || back > len(out) {
			return nil, bad
		}
		for range n {
			out = append(out, out[len(out)-back])
		}
	}
	return nil, bad // a block ends in literals
}

// unlz4 does as Linux's lib/decompress_unlz4.c: fixed as since 5.14, else as
// before. It returns what is unpacked, and what is left of the buffer.
func unlz4(b []byte, fixed bool) (out, rest []byte, err error) {
	b = b[4:]
	for len(b) > 0 {
		if fixed && len(b) < 4 {
			return out, b, nil
		}
		if len(b) < 4 {
			return out, nil, errors.New("data corrupted")
		}
		n := int64(binary.LittleEndian.Uint32(b))
		if n == magicLZ4 {
			b = b[4:]
			continue
		}
		if fixed && n == 0 {
			return out, b, nil
		}
		if n > int64(len(b)-4) {
			return out, nil, errors.New("data corrupted")
		}
		plain, err := block(b[4 : 4+n])
		if err != nil {
			return out, nil, err
		}
		out, b = append(out, plain...), b[4+n:]
	}
	return out, nil, nil
}

// names lists the files of archives that follow one another.
func names(b []byte) (list []string) {
	for len(b) > 110 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		var f [13]int64
		for i := range f {
			for _, c := range b[6+8*i : 14+8*i] {
				f[i] = f[i]<<4 | int64(strings.IndexByte("0123456789ABCDEF", bytes.ToUpper([]byte{c})[0]))
			}
		}
		list = append(list, string(b[110:110+f[11]-1]))
		at := (110 + f[11] + 3) &^ 3
		b = b[(at+f[6]+3)&^3:]
	}
	return list
}

// unpackInitrd lists the files that Linux finds in an initrd of uncompressed and
// LZ4's archives, and in those of gzip.
func unpackInitrd(t *testing.T, b []byte, fixed bool) (list []string, err error) {
	t.Helper()
	for len(b) > 0 {
		switch {
		case b[0] == 0:
			b = b[1:]
		case isCPIO(b):
			end := bytes.Index(b, []byte("TRAILER!!!")) + 10
			list = append(list, names(b[:(end+4)&^3])...)
			b = b[(end+4)&^3:]
		case binary.LittleEndian.Uint32(b) == magicLZ4:
			out, rest, err := unlz4(b, fixed)
			list = append(list, names(out)...)
			if err != nil {
				return list, err
			}
			b = rest
		default:
			return append(list, names(unzip(t, b))...), nil
		}
	}
	return list, nil
}

// archiveOf is an uncompressed archive of one file.
func archiveOf(t *testing.T, name string, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := writeCPIO(&out, map[string]file{name: {mode: 0o644, body: body}}); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), make([]byte, (512-out.Len()%512)%512)...) // as cpio
}

// lz4Of is an archive compressed as mkinitramfs does it, or, where there is no
// lz4, as here.
func lz4Of(t *testing.T, name string, body []byte) []byte {
	t.Helper()
	if _, err := exec.LookPath("lz4"); err == nil {
		return []byte(run(t, archiveOf(t, name, body), "lz4", "-9", "-l", "-c"))
	}
	var out bytes.Buffer
	writeLZ4(&out, archiveOf(t, name, body))
	return out.Bytes()
}

// TestLZ4 holds that what is appended to an initrd of LZ4 is found by a kernel
// that takes zeros for a block, and by one that doesn't.
func TestLZ4(t *testing.T) {
	microcode, body := archiveOf(t, "kernel/x86/microcode", make([]byte, 5000)), bytes.Repeat([]byte("text "), 9<<20/5)
	o := guest.Overlay{Initrd: "/boot/initrd.img-6.1", Kernel: "6.1", Texts: []guest.Edit{{Path: "/conf/conf.d/zzz", New: strings.Repeat("x", maxBlock), Mode: 0o644}}}
	for _, tt := range []struct {
		name   string
		initrd []byte
		want   string
	}{
		{"alone", lz4Of(t, "init", body), "init TRAILER!!!"},
		{"after microcode", append(bytes.Clone(microcode), lz4Of(t, "init", body)...), "kernel kernel/x86 kernel/x86/microcode TRAILER!!! init TRAILER!!!"},
		{"twice", append(lz4Of(t, "init", body), lz4Of(t, "more", nil)...), "init TRAILER!!! more TRAILER!!!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{"boot/initrd.img-6.1": {Data: tt.initrd}}
			for _, again := range []string{"", " conf conf/conf.d conf/conf.d/zzz TRAILER!!!"} {
				added, err := Build(root, o)
				if err != nil {
					t.Fatal(err)
				}
				whole := append(root["boot/initrd.img-6.1"].Data, added...)
				want := tt.want + again + " conf conf/conf.d conf/conf.d/zzz TRAILER!!!"
				for _, fixed := range []bool{false, true} {
					got, err := unpackInitrd(t, whole, fixed)
					if strings.Join(got, " ") != want || err != nil {
						t.Errorf("Linux (fixed: %v) finds %q, %v; want %q", fixed, got, err, want)
					}
				}
				root["boot/initrd.img-6.1"] = &fstest.MapFile{Data: whole}
			}
		})
	}
	// What this is for: zeros and gzip, as behind any other archive.
	zeros := append(lz4Of(t, "init", body), make([]byte, 512)...)
	root := fstest.MapFS{"boot/initrd.img-6.1": {Data: zeros}}
	added, err := Build(root, o)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unpackInitrd(t, append(zeros, added...), false); err == nil || len(got) != 2 {
		t.Errorf("a kernel before 5.14 finds %q behind zeros, %v", got, err)
	}
	if got, err := unpackInitrd(t, append(zeros, added...), true); err != nil || len(got) != 6 {
		t.Errorf("a kernel of 5.14 finds %q behind zeros, %v", got, err)
	}
}

// TestWriteLZ4 has lz4 itself, where there is one, read what is written.
func TestWriteLZ4(t *testing.T) {
	for _, n := range []int{0, 1, 14, 15, 16, 15 + 254, 15 + 255, 15 + 256, maxBlock - 1, maxBlock, maxBlock + 1, 2*maxBlock + 300} {
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(i >> 3)
		}
		var out bytes.Buffer
		writeLZ4(&out, want)
		if got, _, err := unlz4(out.Bytes(), false); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes are read back as %d, %v", n, len(got), err)
		}
		if _, err := exec.LookPath("lz4"); err != nil {
			continue
		}
		if got := run(t, out.Bytes(), "lz4", "-d", "-c"); got != string(want) {
			t.Errorf("lz4 reads %d bytes back as %d", n, len(got))
		}
	}
}

func TestEndsInLZ4(t *testing.T) {
	lz4 := func(b []byte) []byte {
		var out bytes.Buffer
		writeLZ4(&out, b)
		return out.Bytes()
	}
	cpio := archiveOf(t, "a", []byte("b"))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		name string
		in   []byte
		want bool
	}{
		{"nothing", nil, false},
		{"one byte", []byte{2}, false},
		{"gzip", []byte("\x1f\x8b and so on"), false},
		{"uncompressed", cpio, false},
		{"LZ4", lz4(cpio), true},
		{"LZ4's magic alone", []byte{0x02, 0x21, 0x4c, 0x18}, true},
		{"LZ4 without its end", lz4(cpio)[:100], false},
		{"LZ4 and a byte", join(lz4(cpio), []byte{7}), false},
		{"LZ4 and zeros", join(lz4(cpio), make([]byte, 600)), false},
		{"LZ4, zeros, LZ4", join(lz4(cpio), make([]byte, 600), lz4(cpio)), true},
		{"LZ4 and gzip", join(lz4(cpio), []byte("\x1f\x8b\x08\x00 and so on")), false},
		{"uncompressed, zeros, LZ4", join(cpio, make([]byte, 5000), lz4(cpio)), true},
		{"many zeros", join(make([]byte, maxZeros+1024), lz4(cpio)), false},
		{"LZ4's frame format", []byte{0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7}, false},
		{"a damaged header", append([]byte("070701"), bytes.Repeat([]byte("x"), 200)...), false},
		{"a name without an end", append([]byte("070701"), bytes.Repeat([]byte("F"), 200)...), false},
		{"a header cut short", cpio[:60], false},
	} {
		if got, err := endsInLZ4(bytes.NewReader(tt.in), int64(len(tt.in))); got != tt.want || err != nil {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
	if _, err := endsInLZ4(bytes.NewReader(cpio[:100]), 1000); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that is shorter than it says: %v", err)
	}
}

func FuzzEndsInLZ4(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x02\x21\x4c\x18\x01\x00\x00\x00\x00"))
	f.Add([]byte("070701" + strings.Repeat("0", 100) + "\x00\x00\x00\x02\x21\x4c\x18"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := endsInLZ4(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Errorf("%q: %v", b, err)
		}
	})
}
