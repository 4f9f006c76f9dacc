package adapt

import (
	"cmp"
	"fmt"
	"strings"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// cloudConfig keeps cloud-init from taking the guest for a new machine: one that
// trusts its cache goes on with the instance that it knows, whatever it finds. The
// rest holds should the cache be gone.
const cloudConfig = `# Made by esxodus: off VMware, cloud-init must not take this for a new machine. To
# have it do so, remove this file and run: cloud-init clean
manual_cache_clean: true
network: {config: disabled}
ssh_deletekeys: false
preserve_hostname: true
`

// cloudInit keeps the guest's host keys, name and network.
func (b *builder) cloudInit() {
	c := b.c.CloudInit
	if !c.Forgets() {
		return
	}
	name := c.CloudConfig()
	b.out.Edits = append(b.out.Edits, guest.Edit{
		Path: name, Make: true, Mode: 0o644, New: cloudConfig,
		Reason: "cloud-init had the guest's identity from outside, and might make it a new machine here",
	})
	b.entry("guest.cloudInit", c.Instance, c.Instance, "cloud-init keeps this instance, by "+name)
}

// CloudInit tells of a guest that is left as it is, and that cloud-init may make new.
func CloudInit(g guest.Guest) []ledger.Concern {
	c := g.Config.CloudInit
	if !c.Forgets() {
		return nil
	}
	searched := "its usual sources"
	if len(c.Sources) > 0 {
		searched = strings.Join(c.Sources, ", ")
	}
	return []ledger.Concern{{
		ID: ConcernCloudInit, Severity: ledger.Warning, Subject: "cloud-init",
		Evidence: fmt.Sprintf("cloud-init took the guest for the instance %s by %s, which is not in the guest itself, and looks for %s: here it may take it for a new machine, with new SSH host keys and DHCP", c.Instance, cmp.Or(c.Source, "a source"), searched),
		Advice:   "in the guest: touch /etc/cloud/cloud-init.disabled; or let the conversion change it (leave --no-edits out)",
	}}
}
