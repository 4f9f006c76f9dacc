package adapt

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// DHCP tells of NICs whose DHCP server will take them for another client.
// systemd-networkd identifies itself by the machine's id and a number that it makes of
// the NIC's place on the bus (sd-dhcp-client's IAID), unless it is told to use the MAC
// address, which dhclient and NetworkManager do.
func DHCP(nics []guest.NIC) []ledger.Concern {
	var names, files []string
	for _, n := range nics {
		for _, l := range n.Links {
			byNetworkd := l.Style == guest.Networkd || l.Style == guest.Netplan && !l.ByNM
			if byNetworkd && (l.DHCP4 || l.DHCP6) && !l.ByMAC {
				names, files = append(names, n.Name), append(files, l.File)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []ledger.Concern{{
		ID: ConcernDHCP, Severity: ledger.Note, Subject: strings.Join(slices.Compact(names), ", "),
		Evidence: fmt.Sprintf("the guest takes its address by DHCP through systemd-networkd (%s), whose client id is made of the NIC's place on the bus, too: the server sees a new client, and gives a new lease", strings.Join(slices.Compact(files), ", ")),
		Advice:   "a reservation by MAC address goes on working; for one by client id set ClientIdentifier=mac (netplan: dhcp-identifier: mac) in the guest before the migration, and reserve by the MAC address",
	}}
}
