package plan

import (
	"fmt"

	"esxodus/convert/ledger"
	"esxodus/convert/volume"
)

// sharingConcerns says what follows from other hosts' seeing the target's volume
// group.
func sharingConcerns(storage string, s volume.Sharing) []ledger.Concern {
	if s.Text() == "" {
		return nil
	}
	c := ledger.Concern{ID: ConcernShared, Severity: ledger.Note, Subject: storage, Evidence: "the volume group " + s.Name + " is " + s.Text()}
	switch {
	case s.Stopped:
		c.Severity, c.Evidence = ledger.Blocker, c.Evidence+", and they aren't started here"
		c.Advice = fmt.Sprintf("start them: `vgchange --lockstart %s` (lvmlocks.service does it at boot)", s.Name)
	case s.Locks != "":
		c.Advice = "nothing now: the volumes become active on this host, and stay so for it alone. A live migration needs them on both hosts: first `lvchange --activate sy VG/LV` on both, which LVM allows for linear and striped volumes only, afterwards `--activate n` here and `--activate ey` there. After a boot they are inactive: activate them where the domain starts"
	case s.Owner != "":
		c.Advice = "nothing: LVM keeps other hosts out. A domain there can't move to another host while it runs; a group with locks (lvmlockd) lets it"
	default:
		c.Severity = ledger.Warning
		c.Advice = "as long as a run isn't committed or rolled back, a tag makes this host the group's only writer, which every esxodus heeds, but no other program: change nothing there from another host meanwhile. Until the commit no host's boot activates the volumes, and from then on each does: a live migration finds them active on both hosts, and what changes one (lvextend) must be repeated on the other (`lvchange --refresh VG/LV`). lvmlockd (`man lvmlockd`) guards against all of that"
	}
	out := []ledger.Concern{c}
	for _, w := range s.Others {
		out = append(out, ledger.Concern{
			ID: ConcernWriter, Severity: ledger.Blocker, Subject: storage,
			Evidence: fmt.Sprintf("the host %q has runs in the volume group that are neither committed nor rolled back, and without lvmlockd only one host at a time may change the group", w.Host),
			Advice:   fmt.Sprintf("end them there (`esxodus status`), and plan again; only if that host is gone for good, `%s` takes the group over", w.TakeOver(s.Name)),
		})
	}
	return out
}
