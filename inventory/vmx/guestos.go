package vmx

import (
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// guestID turns guestOS ("debian10-64") into the API's id
// ("debian10_64Guest"). A name that the API has none for comes back as it is.
func guestID(name string) string {
	if name == "" {
		return ""
	}
	key := plainGuest(name)
	switch key { // where the two lists differ in more than spelling
	case "other":
		return string(types.VirtualMachineGuestOsIdentifierOtherGuest)
	case "other64":
		return string(types.VirtualMachineGuestOsIdentifierOtherGuest64)
	case "longhorn":
		return string(types.VirtualMachineGuestOsIdentifierWinLonghornGuest)
	case "longhorn64":
		return string(types.VirtualMachineGuestOsIdentifierWinLonghorn64Guest)
	}
	long := strings.Replace(key, "srv", "server", 1)
	for _, id := range types.VirtualMachineGuestOsIdentifier("").Strings() {
		if plain := plainGuest(id); plain == key || plain == long {
			return id
		}
	}
	return name
}

// plainGuest is what two spellings of a guest have in common.
func plainGuest(s string) string {
	s = strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
	return strings.TrimSuffix(s, "guest")
}
