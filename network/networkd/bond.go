package networkd

import (
	"errors"
	"fmt"
	"strings"
)

// BondMode is a bond's, by the kernel's name (bonding.rst).
type BondMode string

// The modes that are made of ESXi's policies.
const (
	ActiveBackup BondMode = "active-backup" // one leg at a time; the switch needn't know
	BalanceXOR   BondMode = "balance-xor"   // by a hash; the switch has a static channel
	LACP         BondMode = "802.3ad"       // the same, agreed on with the switch
)

// Bond is several interfaces as one.
type Bond struct {
	Name    string
	Legs    []string // in the order of preference
	Mode    BondMode
	Primary string   // the leg that is preferred, "" for none
	Return  bool     // to the primary, as soon as it is back
	For     []string // what it is there for: names of port groups, for a comment
}

// Units returns the optional files of a bond. Each leg gives up what addresses it has.
func (b Bond) Units() ([]Unit, error) {
	if len(b.Legs) < 2 {
		return nil, errors.New("bond " + b.Name + " with less than two legs")
	}
	for _, name := range append([]string{b.Name}, b.Legs...) {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	text := comment("Several uplinks as one", b.For) + b.needs() + fmt.Sprintf(`
[NetDev]
Name=%s
Kind=bond

[Bond]
Mode=%s
MIIMonitorSec=100ms
`, b.Name, b.Mode)
	switch {
	case b.Mode != ActiveBackup:
		text += "TransmitHashPolicy=layer2+3\n"
	case b.Primary != "" && !b.Return:
		text += "PrimaryReselectPolicy=failure\n"
	}
	units := []Unit{optional("40-esxodus-"+b.Name+".netdev", text)}
	for _, leg := range b.Legs {
		units = append(units, optional("40-esxodus-"+b.Name+"-"+leg+".network", b.leg(leg)))
	}
	return units, nil
}

// needs says what the switch must do.
func (b Bond) needs() string {
	switch b.Mode {
	case BalanceXOR:
		return "# The ports of the switch must be a static channel (no LACP), as ESXi has it.\n"
	case LACP:
		return "# The ports of the switch must be an LACP channel.\n"
	}
	return "# The switch need not know. After a failover a domain that sends nothing may not\n# be reached until it does: the bond announces its own address only.\n"
}

func (b Bond) leg(name string) string {
	text := fmt.Sprintf(`# %[1]s gives up its addresses, and the sessions over them: move those of the host to
# %[2]s first, on the host's console. If a file of the host's own configures
# %[1]s, delete that, or put its Bond= there.

[Match]
Name=%[1]s

[Network]
Bond=%[2]s
`, name, b.Name)
	if name == b.Primary {
		text += "PrimarySlave=yes\n"
	}
	return strings.TrimLeft(text, "\n")
}
