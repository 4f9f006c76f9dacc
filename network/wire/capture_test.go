package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// TestCapture: the frames of each NIC are in the file, with their direction, and a
// flood takes no more room than is meant.
func TestCapture(t *testing.T) {
	t.Parallel()
	const second = "00:0c:29:01:02:04"
	w := open(t, nic("192.0.2.10/24"), NIC{Name: "ens\x1b[2J", MAC: second})
	if w.Captured() {
		t.Error("something is captured before anything was heard")
	}
	guest := mac(t, guestMAC)
	heard := arpFrame(t, layers.ARPRequest, guest, broadcast(), guest, "192.0.2.99", hw{}, "192.0.2.1")
	if err := w.ports[0].receive(heard, time.Unix(1e9, 5)); err != nil {
		t.Fatal(err)
	}
	if err := w.ports[0].send(42, heard); err != nil {
		t.Fatal(err)
	}
	if !w.Captured() {
		t.Error("nothing is captured")
	}
	for range 100_000 {
		if err := w.ports[1].receive(make([]byte, 20), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := w.WriteCapture(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 2*mostCaptured {
		t.Errorf("%d bytes of a flood", b.Len())
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(b.Bytes()), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	frames := make(map[int][][]byte)
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(frames) == 0 && !info.Timestamp.Equal(time.Unix(1e9, 5)) {
			t.Errorf("the first frame is of %v", info.Timestamp)
		}
		frames[info.InterfaceIndex] = append(frames[info.InterfaceIndex], data)
	}
	if got := frames[0]; len(got) != 2 || !bytes.Equal(got[0], heard) || !bytes.Equal(got[1], tagged(42, heard)) {
		t.Errorf("frames of the first NIC: %x", got)
	}
	if n := len(frames[1]); n < 1000 || n > mostCaptured/20 {
		t.Errorf("%d frames of the second NIC", n)
	}
	for i, want := range []string{"ens192", `"ens\x1b[2J"`} {
		at, err := r.Interface(i)
		if err != nil || at.Name != want || at.LinkType != layers.LinkTypeEthernet {
			t.Errorf("interface %d: %+v, %v; want %s", i, at, err, want)
		}
	}
	if at, _ := r.Interface(1); at.Statistics.PacketsReceived != 100_000 || at.Statistics.PacketsDropped != 100_000-uint64(len(frames[1])) {
		t.Errorf("statistics of the flood: %+v", at.Statistics)
	}
}

// TestCaptureFails: a file that can't be written is said.
func TestCaptureFails(t *testing.T) {
	t.Parallel()
	w := open(t, nic("192.0.2.10/24"))
	if err := w.WriteCapture(full{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("WriteCapture = %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, fmt.Errorf("full: %w", io.ErrShortWrite) }
