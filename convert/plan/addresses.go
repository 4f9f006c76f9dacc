package plan

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/guest/adapt"
)

// addressValue is a value of --ip. A VM's name may hold anything.
var addressValue = regexp.MustCompile(`(?s)^(.+)/ethernet([0-9]{1,3})=([^/=]+/[0-9]+)((?:,[^,]*)*)$`)

// ParseAddresses reads the values of --ip, by VM:
// 'VM/ethernet0=192.0.2.20/24,gw=192.0.2.1,dns=192.0.2.53'. dns may be there again.
func ParseAddresses(values []string) (map[string][]guest.NewAddress, error) {
	out := map[string][]guest.NewAddress{}
	for _, v := range values {
		vm, a, err := parseAddress(v)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", adapt.AddressFlag, v, err)
		}
		same := func(o guest.NewAddress) bool { return o.Index == a.Index && o.Family(a.Prefix.Addr()) }
		if slices.ContainsFunc(out[vm], same) {
			return nil, fmt.Errorf("%s %q: ethernet%d has another address of that family already", adapt.AddressFlag, v, a.Index)
		}
		out[vm] = append(out[vm], a)
	}
	return out, nil
}

func parseAddress(v string) (vm string, a guest.NewAddress, err error) {
	m := addressValue.FindStringSubmatch(v)
	if m == nil {
		return "", a, fmt.Errorf("want VM/ethernet0=ADDRESS/LENGTH, perhaps with ,gw=ADDRESS and ,dns=ADDRESS")
	}
	a.Index, _ = strconv.Atoi(m[2]) // at most 3 digits
	if a.Prefix, err = netip.ParsePrefix(m[3]); err != nil {
		return "", a, fmt.Errorf("%q is no address with its length, as 192.0.2.20/24 is", m[3])
	}
	for _, part := range strings.Split(m[4], ",")[1:] {
		key, value, _ := strings.Cut(part, "=")
		x, err := netip.ParseAddr(value)
		switch {
		case key != "gw" && key != "dns":
			return "", a, fmt.Errorf("%q: want gw=ADDRESS or dns=ADDRESS", part)
		case err != nil:
			return "", a, fmt.Errorf("%s: %q is no IP address", key, value)
		case key == "dns":
			a.DNS = append(a.DNS, x)
		case a.Gateway.IsValid():
			return "", a, fmt.Errorf("two gateways")
		default:
			a.Gateway = x
		}
	}
	return m[1], a, checkAddress(a)
}

// checkAddress refuses what no machine can have, of a flag or of a plan's file.
func checkAddress(a guest.NewAddress) error {
	switch x, gw := a.Prefix.Addr(), a.Gateway; {
	case !a.Prefix.IsValid():
		return fmt.Errorf("it has no prefix, such as 192.0.2.20/24")
	case !isHost(a.Prefix, x):
		return fmt.Errorf("%s is no address of a machine", a.Prefix)
	case !gw.IsValid():
	case gw.Zone() != "" || !a.Family(gw) || !a.Prefix.Masked().Contains(gw) && (gw.Is4() || !gw.IsLinkLocalUnicast()):
		return fmt.Errorf("the gateway %s isn't in the network of %s", gw, a.Prefix)
	case gw == x:
		return fmt.Errorf("the gateway is the address itself")
	case !isHost(netip.PrefixFrom(gw, a.Prefix.Bits()), gw) && !gw.Is6():
		return fmt.Errorf("the gateway %s is no address of a machine", gw)
	}
	for _, d := range a.DNS {
		if !isHost(netip.PrefixFrom(d, d.BitLen()), d) && !d.IsLoopback() {
			return fmt.Errorf("the name server %s is no address of a machine", d)
		}
	}
	return nil
}

// isHost reports whether an address can be a machine's in its network, and is plain:
// it goes into files of the guest.
func isHost(p netip.Prefix, x netip.Addr) bool {
	if !p.IsValid() || x.Zone() != "" || x.Is4In6() || !x.IsGlobalUnicast() && !x.IsLinkLocalUnicast() {
		return false
	}
	if p.Bits() >= x.BitLen()-1 {
		return true
	}
	return x != p.Masked().Addr() && (x.Is6() || x.Next().IsValid() && p.Contains(x.Next())) // not its broadcast address
}
