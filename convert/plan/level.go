package plan

import (
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// needsLevel is x86-64's level that a guest's system is built for; 1 where it runs on any.
// RHEL 9 and its kin need the second, RHEL 10 the third (AlmaLinux 10 is built for the
// second, too), SUSE's of 16 the second, as their release notes say.
func needsLevel(g *guest.Guest) int {
	major, _, _ := strings.Cut(g.Version, ".")
	is := func(names ...string) bool { return slices.Contains(names, g.Distro) }
	switch {
	case major == "9" && is("rhel", "centos", "almalinux", "rocky", "ol"), major == "10" && is("almalinux"), major == "16" && is("sles", "sled", "opensuse-leap"):
		return 2
	case major == "10" && is("rhel", "centos", "rocky", "ol"):
		return 3
	}
	return 1
}

// levelConcerns tells of a guest that this host's processor can't run. An emulated one has
// all that it needs.
func levelConcerns(g *guest.Guest, virtType string, t TargetFacts) []ledger.Concern {
	need := needsLevel(g)
	if virtType != "kvm" || t.CPULevel == 0 || t.CPULevel >= need {
		return nil
	}
	return []ledger.Concern{{
		ID: ConcernLevel, Severity: ledger.Warning, Evidence: fmt.Sprintf("%s is built for x86-64-v%d, and this host's processor is of level %d", g.PrettyName, need, t.CPULevel),
		Advice: "it stops as soon as it starts, with 'CPU does not support x86-64-v" + fmt.Sprint(need) + "': migrate it to a host with a newer processor",
	}}
}
