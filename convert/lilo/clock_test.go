package lilo

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"time"
)

// The BIOS counts the ticks of its clock, 18.2 a second, in a word of its data area.
const (
	biosTicks = 0x46c
	tick      = time.Second * 10 / 182
)

// forward puts the machine's clock forward, instead of waiting: the BIOS's count of
// ticks is changed by way of QEMU's gdb stub.
func (m *machine) forward(d time.Duration) {
	m.tb.Helper()
	m.clock(func(ticks uint32) uint32 { return ticks + uint32(d/tick) })
}

// live waits until the machine's own clock has gone on for so long.
func (m *machine) live(d time.Duration) {
	m.tb.Helper()
	same := func(ticks uint32) uint32 { return ticks }
	begin := m.clock(same)
	for deadline := time.Now().Add(5 * time.Minute); m.clock(same)-begin < uint32(d/tick); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.tb.Fatal("the machine's clock stands still")
		}
	}
}

// clock reads the count of ticks, and changes it where set says so.
func (m *machine) clock(set func(uint32) uint32) uint32 {
	m.tb.Helper()
	conn, err := net.Dial("unix", m.gdb)
	if err != nil {
		m.tb.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	r := bufio.NewReader(conn) // the machine stands still from here on
	had, err := hex.DecodeString(m.debug(conn, r, fmt.Sprintf("m%x,4", biosTicks)))
	if err != nil || len(had) != 4 {
		m.tb.Fatalf("gdb: the ticks are %q: %v", had, err)
	}
	ticks := binary.LittleEndian.Uint32(had)
	if want := set(ticks); want != ticks {
		if got := m.debug(conn, r, fmt.Sprintf("M%x,4:%x", biosTicks, binary.LittleEndian.AppendUint32(nil, want))); got != "OK" {
			m.tb.Fatalf("gdb: setting the ticks: %q", got)
		}
	}
	if got := m.debug(conn, r, "D"); got != "OK" { // it goes on
		m.tb.Fatalf("gdb: letting go: %q", got)
	}
	return ticks
}

// forwardTo puts the clock forward, again and again, until the console shows text:
// the loader may not have looked at it yet when it is put forward first.
func (m *machine) forwardTo(text string) {
	m.tb.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		m.mu.Lock()
		seen := strings.Contains(string(m.out[m.seen:]), text)
		m.mu.Unlock()
		if seen {
			return
		}
		if time.Now().After(deadline) {
			m.tb.Fatalf("time passes, and the console doesn't show %q", text)
		}
		// Not by all of it at once: what the console shows comes here a little later, and
		// the timeout that begins then must not end as well.
		m.forward(time.Minute)
	}
}

// debug sends a packet of gdb's remote protocol and returns the answer: both are
// "$text#sum", and acknowledged by "+".
func (m *machine) debug(conn net.Conn, r *bufio.Reader, text string) string {
	m.tb.Helper()
	var sum byte
	for _, c := range []byte(text) {
		sum += c
	}
	if _, err := fmt.Fprintf(conn, "$%s#%02x", text, sum); err != nil {
		m.tb.Fatal(err)
	}
	for {
		answer, err := r.ReadString('#')
		if err == nil {
			_, err = r.Discard(2) // its sum
		}
		if err == nil {
			_, err = conn.Write([]byte("+"))
		}
		_, answer, ok := strings.Cut(strings.TrimSuffix(answer, "#"), "$")
		if err != nil || !ok {
			m.tb.Fatalf("gdb: %q to %q: %v", answer, text, err)
		}
		if !strings.HasPrefix(answer, "T") { // which says that the machine stopped
			return answer
		}
	}
}
