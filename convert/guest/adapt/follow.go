package adapt

import (
	"fmt"

	"esxodus/convert/guest"
	"esxodus/convert/ledger"
)

// Where lilo keeps its copies of what has booted.
const (
	lastResortDir    = "/boot/lilo"
	lastResortKernel = lastResortDir + "/vmlinuz"
	lastResortInitrd = lastResortDir + "/initrd.img"
)

// lastResortLabel is the image that the loader takes when all others have changed.
const lastResortLabel = "LastResort"

// follow has lilo run after whatever rewrites a kernel or an initrd. Hooks of
// packages are not enough: dracut has none, it writes in place where a trigger or a
// hand runs it, and the map then leads to blocks that belong to nobody. So /boot is
// watched; and what no watch can see in time, or at all, is found when the system
// stops, after everything else. A power cut before that leaves the last resort.
func (b *builder) follow() {
	if b.c.Systemd {
		for _, unit := range []string{"lilo.service", "lilo-watch.path", "lilo-watch.service"} {
			b.out.Programs = append(b.out.Programs, guest.Program{Path: "/etc/systemd/system/" + unit, Source: "units/" + unit, Mode: 0o644})
		}
		b.command("systemctl", "enable", "lilo.service", "lilo-watch.path")
		b.touch("lilo is enabled, to follow what has changed", "/etc/systemd/system/*.wants", "/etc/systemd/system/*.wants/lilo.service", "/etc/systemd/system/*.wants/lilo-watch.path")
		return
	}
	b.out.Programs = append(b.out.Programs, guest.Program{Path: "/etc/init.d/lilo", Source: "hooks/lilo.init", Mode: 0o755})
	b.command(b.family.starts("lilo")...)
	b.touch("lilo is enabled, to follow what has changed", "/etc/rc?.d/*lilo", "/etc/rc.d/rc?.d/*lilo", "/etc/init.d/.depend.*", "/var/lib/insserv/")
}

// lastResort is what the loader boots when all else has changed: copies that lilo
// makes now of the default, and again of what has booted. They are no reason to
// refuse a guest.
func (b *builder) lastResort() {
	by := b.byDefault
	if by.label == "" {
		return // another loader, or none
	}
	b.touch("copies of what boots, which the loader takes when all else has changed", lastResortDir+"/")
	need, err := b.out.Needs(b.g.Estimate(0, 0))
	if err != nil {
		return
	}
	at := b.out.MountOf(lastResortDir)
	free, known := b.c.Free[at]
	copies := int64(guest.KernelSize)
	if by.initrd {
		copies += b.c.Initrds[b.initrdOf(by.kernel)] + guest.Overlaid
	}
	// Half of it stays for the next kernel, or lilo makes none.
	if left := free.Bytes - need[at].Bytes - guest.Margin; known && left < 2*copies {
		b.concern(ConcernRoom, ledger.Warning, at, fmt.Sprintf("%s of the guest has %d MiB left after the conversion, and %d are wanted for copies of kernel and initrd, as much again free beside them", at, max(left, 0)>>20, copies>>20),
			"they are made as soon as there is room, by lilo or at the next start; until then nothing boots by itself if an initrd is rewritten and the machine then loses power: remove kernels that are not needed")
	}
}
