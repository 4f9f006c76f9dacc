package wire

import (
	"net/netip"
	"slices"
	"sync"
)

// sights is where a guest was seen to send from its addresses. Linux answers ARP for
// any of its addresses on any NIC, so an answer alone doesn't show which NIC has the
// address: in a guest whose NICs have exchanged their names, all would answer. But it
// sends from an address where its route is.
type sights struct {
	mu sync.Mutex
	at map[netip.Addr][]place
}

// place is a VLAN of a wire, by the NIC's number.
type place struct{ nic, tag int }

// add notes that the guest sent from an address. Only addresses that are looked for
// are kept, and only in VLANs that are.
func (s *sights) add(a netip.Addr, at place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.at[a], at) {
		s.at[a] = append(s.at[a], at)
	}
}

// of lists where the guest sent from an address.
func (s *sights) of(a netip.Addr) []place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at[a])
}
