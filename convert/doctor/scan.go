package doctor

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"esxodus/convert/ledger"
	"esxodus/convert/volume"
)

// scanning tells where LVM would take what is a guest's for this host's: a disk of
// a network, or a volume, that a guest has made a physical volume without a
// partition. A host's boot activates its volumes, beside the guest that has them.
func (v *stay) scanning(ctx context.Context, network bool) {
	set, err := volume.Settings(ctx, v.Tool, "devices")
	if err != nil {
		v.add("lvm", ledger.Warning, err.Error(), "")
		return
	}
	file := path.Join("/etc/lvm/devices", strings.Trim(set["devicesfile"], `"`))
	if _, err := os.Stat(v.Root + file); err == nil && set["use_devicesfile"] == "1" {
		v.ok("lvm-devices", "LVM looks at the devices of "+file+" alone")
		return
	}
	const cure = "list this host's own devices: use_devicesfile=1 in lvm.conf and `lvmdevices --adddev DEVICE` for each, or global_filter where LVM is older than 2.03.12"
	switch filter := set["global_filter"]; {
	case filter != "" && filter != `["a|.*|"]`:
		v.ok("lvm-devices", "LVM looks at the devices that its global_filter lets it")
	case set["scan_lvs"] == "1":
		v.add("lvm-devices", ledger.Warning, "LVM looks into logical volumes (scan_lvs=1): it takes a guest's volume group there for this host's", "set scan_lvs=0 in lvm.conf, its default")
	case network:
		v.add("lvm-devices", ledger.Note, "LVM looks at each disk that this host sees, with neither a devices file nor a global_filter: it activates the volume group of a guest that has a LUN of its own", cure)
	}
}

// asleep tells of groups whose volumes this host doesn't activate, of those that it uses.
func (v *stay) asleep(ctx context.Context, groups []volume.Group) {
	set, err := volume.Settings(ctx, v.Tool, "activation")
	if err != nil {
		return // the look at the devices says so
	}
	for i := range groups {
		name := groups[i].Name
		switch a := volume.ActivationOf(set, name); {
		case groups[i].Shut:
		case a.Never:
			v.add("lvm-activation", ledger.Warning, fmt.Sprintf("LVM activates no volume of %s on this host (volume_list in lvm.conf): none can be made there", name), fmt.Sprintf("add %q to that list", name))
		case a.NotAtBoot:
			v.add("lvm-activation", ledger.Warning, volume.NotAtBoot(name), volume.BootAdvice(name))
		}
	}
}

// watchdog tells of a sanlock without one.
func (v *stay) watchdog(ctx context.Context) {
	out, err := v.Tool.Run(ctx, "sanlock", "client", "status", "-D")
	if err == nil && slices.Contains(strings.Fields(string(out)), "use_watchdog=0") {
		v.add("sanlock", ledger.Warning, "sanlock runs without a watchdog (use_watchdog=0): when this host no longer reaches its leases others take its volumes, and nothing stops its domains from writing to them",
			"take `-w 0` out of SANLOCKOPTS (/etc/default/sanlock or /etc/sysconfig/sanlock) and use_watchdog = 0 out of /etc/sanlock/sanlock.conf, have wdmd run, and restart sanlock")
	}
}
