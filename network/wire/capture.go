package wire

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// mostCaptured is how many bytes of frames are kept of a NIC: the first ones, which
// show what the guest asks for as it comes up.
const mostCaptured = 1 << 20

// capture keeps frames of a wire.
type capture struct {
	mu     sync.Mutex
	frames []captured
	bytes  int
	lost   uint64 // frames that there was no room for
}

type captured struct {
	at    time.Time
	frame []byte
	ours  bool // it went to the guest
}

// overhead is what a captured frame takes besides its bytes: a flood of short ones
// must not take more than is meant.
const overhead = 64

func (c *capture) add(frame []byte, at time.Time, ours bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes += len(frame) + overhead; c.bytes > mostCaptured {
		c.lost++
		return
	}
	c.frames = append(c.frames, captured{at, slices.Clone(frame), ours})
}

// Captured reports whether there is anything to write.
func (w *Wire) Captured() bool {
	return slices.ContainsFunc(w.ports, func(p *port) bool {
		p.capture.mu.Lock()
		defer p.capture.mu.Unlock()
		return slices.ContainsFunc(p.capture.frames, func(f captured) bool { return !f.ours })
	})
}

// WriteCapture writes the frames of all NICs, as many as were kept, in pcapng, which
// Wireshark and tcpdump read. Outbound is what esxodus sent.
func (w *Wire) WriteCapture(to io.Writer) error {
	var out *pcapgo.NgWriter
	for i, p := range w.ports {
		at := pcapgo.NgInterface{Name: p.nic.short(), Description: p.nic.label(), LinkType: layers.LinkTypeEthernet, OS: "esxodus"}
		var err error
		if i == 0 {
			out, err = pcapgo.NewNgWriterInterface(to, at, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "esxodus"}})
		} else {
			_, err = out.AddInterface(at)
		}
		if err == nil {
			err = p.capture.write(out, i)
		}
		if err != nil {
			return fmt.Errorf("capture of the NIC %s: %w", p.nic.label(), err)
		}
	}
	if out == nil {
		return nil
	}
	return out.Flush()
}

func (c *capture) write(out *pcapgo.NgWriter, nic int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.frames {
		flags := pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionInbound}
		if f.ours {
			flags.Direction = pcapgo.NgEpbFlagDirectionOutbound
		}
		info := gopacket.CaptureInfo{Timestamp: f.at, CaptureLength: len(f.frame), Length: len(f.frame), InterfaceIndex: nic}
		if err := out.WritePacketWithOptions(info, f.frame, pcapgo.NgPacketOptions{Flags: &flags}); err != nil {
			return err
		}
	}
	last := time.Unix(0, 0)
	if n := len(c.frames); n > 0 {
		last = c.frames[n-1].at
	}
	return out.WriteInterfaceStats(nic, pcapgo.NgInterfaceStatistics{
		LastUpdate: last, PacketsReceived: uint64(len(c.frames)) + c.lost, PacketsDropped: c.lost,
	})
}
