package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"esxodus/convert/host"
)

// explain adds to what LVM says why it keeps this host out, and what helps.
func (l LVM) explain(err error) error {
	exit, ok := errors.AsType[*host.ExitError](err)
	if !ok {
		return err
	}
	if _, ids, ok := strings.Cut(exit.Stderr, " with system ID "); ok {
		return fmt.Errorf("%s (%w)", l.foreign(ids), err)
	}
	for _, r := range lockRefusals() {
		if strings.Contains(exit.Stderr, r.says) && (r.text != lockless || lockFailed(exit.Stderr)) {
			return fmt.Errorf("%s (%w)", strings.ReplaceAll(r.text, "VG", l.VG), err)
		}
	}
	return err
}

// lockFailed reports whether a command failed for a lock. That lvmlockd doesn't run each
// command says that is told to use it, also those for groups that have no locks.
func lockFailed(says string) bool {
	return strings.Contains(says, "lock failed") || strings.Contains(says, "failed lock")
}

// refusal is how LVM says that it didn't get a lock of lvmlockd's.
type refusal struct{ says, text string }

// lockRefusals are those of lib/locking/lvmlockd.c and lib/metadata/metadata.c
// (LVM 2.03.16), what is special first: the last lines say no more than that a lock
// failed.
func lockRefusals() []refusal {
	const (
		starting = "its locks are still being started here, which takes minutes after a host has died: repeat the command when `vgchange --lockstart VG` has ended"
		gone     = "sanlock doesn't reach the leases of its locks: see its log (`sanlock client log_dump`) and the disks"
	)
	return []refusal{
		{"LV locked by other host", "it is active on another host: `lvchange --activate n` there makes it free"},
		{"held by other host", "another host is changing it at this moment: repeat the command; if this lasts, `lvmlockctl --info` on each host tells which one it is"},
		{"lock start in progress", starting},
		{"lockspace is starting", starting},
		{"for sanlock leases", gone},
		{"that requires lvmlockd", "its locks need lvmlockd, which LVM doesn't use here: set use_lvmlockd=1 in lvm.conf, start lvmlockd and its lock manager, and then the group's locks: `vgchange --lockstart VG`"},
		{"lvmlockd process is not running", lockless},
		{"lvmlockd connect failed", lockless},
		{"lockspace is inactive", lockstart},
		{"due to failed lock", lockstart},
	}
}

const (
	lockstart = "its locks aren't started here: `vgchange --lockstart VG` starts them"
	lockless  = "lvmlockd isn't running here: start it and its lock manager (sanlock or dlm), and then the group's locks: `vgchange --lockstart VG`"
)

// foreign says whose the group is, from LVM's "OWNER with local system ID OWN".
func (l LVM) foreign(ids string) string {
	owner, rest, _ := strings.Cut(ids, " ")
	text := fmt.Sprintf("the host with the system id %s owns it", owner)
	_, own, ok := strings.Cut(rest, "with local system ID ")
	own, _, _ = strings.Cut(strings.TrimSpace(own), "\n")
	if own = strings.TrimSuffix(own, "."); !ok || own == "" {
		return text + ", and this host has no system id: give it one (system_id_source in lvm.conf, `man lvmsystemid`), or take another group"
	}
	return text + fmt.Sprintf(": there, `vgchange --systemid %[1]s %[2]s` hands it over to this one; only if that host is gone for good, `vgchange --config 'local/extra_system_ids=[\"%[3]s\"]' --systemid %[1]s %[2]s` takes it here", own, l.VG, owner)
}

// started lists the groups whose locks this host's lvmlockd has started; it has none
// where lvmlockd doesn't answer.
func started(ctx context.Context, tool host.Runner) []string {
	out, err := tool.Run(ctx, "lvmlockctl", "--info")
	if err != nil {
		return nil
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "VG" {
			names = append(names, words[1])
		}
	}
	return names
}
