package appliance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"esxodus/inventory/fit"
)

const (
	fsckLimit = 12 * time.Hour // large file systems on slow disks
	mostSaid  = 500            // bytes of a check's complaints that people read
	fsckOut   = 256 << 10      // bytes: libguestfs gives back 4 MiB at most, and nothing of more
)

// Verdict is what a check says of a file system.
type Verdict int

// The verdicts. What could not be checked may well be sound.
const (
	Sound      Verdict = iota
	Damaged            // the check complains of it
	NotChecked         // no check is known, or it did not come to its end
	Absent             // nothing, or something else, is where it should be
)

// Finding is what came of the check of a file system.
type Finding struct {
	Verdict Verdict
	Code    int    // exit status, 0 where nothing ran
	Out     string // what was printed, at most its first 256 KiB
}

// FSCheck checks a file system that isn't mounted, without repairing it; a
// journal is replayed first. content is its type as the plan has it. What the
// check finds, and that none can be made, is not an error.
func (a *Appliance) FSCheck(ctx context.Context, device, content string) (Finding, error) {
	dev, err := a.Device(device)
	if err != nil {
		return Finding{}, err
	}
	check := checkScript(dev, content)
	if check == "" {
		return Finding{Verdict: NotChecked, Out: "esxodus has no check for it"}, nil
	}
	out, code, err := a.inside(ctx, fsckLimit+time.Minute, limited(check, fsckLimit))
	if err != nil {
		return Finding{}, fmt.Errorf("checking %s: %w", device, err)
	}
	f := Finding{verdict(content, code, out), code, out}
	if f.Verdict == Sound {
		return f, nil
	}
	out, code, err = a.inside(ctx, quick, "blkid -p -o value -s TYPE "+fit.Shell(dev))
	if err != nil {
		return Finding{}, fmt.Errorf("checking %s: %w", device, err)
	}
	if other(content, code, out) {
		f.Verdict = Absent
	}
	return f, nil
}

// checkScript is the shell's script that checks a file system as FSCheck does,
// "" where no check is known.
func checkScript(dev, content string) string {
	q := fit.Shell(dev)
	switch content {
	case "ext2", "ext3", "ext4":
		return "if dumpe2fs -h " + q + " 2>/dev/null | grep -q needs_recovery; then e2fsck -p -E journal_only " + q +
			"; c=$?; [ $c -lt 4 ] || exit $c; fi; e2fsck -fn " + q
	case "xfs":
		// Only a mount replays its log. A kernel that can't mount it, as newer ones
		// can't version 4, is no reason not to look: xfs_repair says if the log
		// is in its way.
		return "mkdir -p /tmp/replay; if mount -t xfs -o nouuid " + q + " /tmp/replay; then umount /tmp/replay || exit 32; fi; xfs_repair -n " + q
	case "vfat":
		return "fsck.vfat -n " + q
	case "swap":
		return "[ \"$(blkid -p -o value -s TYPE " + q + ")\" = swap ]"
	}
	return ""
}

// limited runs a script for so long at most, and keeps no more of its output
// than libguestfs gives back.
func limited(script string, limit time.Duration) string {
	return fmt.Sprintf("{ timeout -k 60 %d sh -c %s; echo $? >/tmp/check.status; } 2>&1 | { head -c %d; cat >/dev/null; }; exit $(cat /tmp/check.status)",
		int(limit.Seconds()), fit.Shell(script), fsckOut)
}

// verdict says what a check's exit status means. Most of what timeout(1) and the
// shell have for a program that ran too long (124), isn't there (127) or was
// killed (128 and more) looks like bits of e2fsck's.
func verdict(content string, code int, out string) Verdict {
	const timedOut = 124
	switch {
	case code == 0:
		return Sound
	case code >= timedOut:
		return NotChecked
	}
	switch content {
	case "ext2", "ext3", "ext4": // e2fsck(8): bits; 1 and 2 are corrected errors, 4 is left ones, 8 and more is its own trouble
		if code&4 != 0 {
			return Damaged
		}
		if code < 4 {
			return Sound
		}
	case "xfs": // xfs_repair(8): 1 with -n for damage, and for its own trouble; 2 is a log to replay
		if code == 1 && !slices.ContainsFunc(gaveUp(), func(s string) bool { return strings.Contains(out, s) }) {
			return Damaged
		}
	case "vfat": // fsck.fat(8): 2 and more is its own trouble
		if code == 1 {
			return Damaged
		}
	case "swap":
		return Absent
	}
	return NotChecked
}

// gaveUp is what xfs_repair prints where its status 1 says nothing of the file
// system: it is too old for it, or can't work, or the log that nobody replayed
// makes it see faults where there are none.
func gaveUp() []string {
	return []string{
		"Found unsupported filesystem features", "Using a more recent xfs_repair is recommended", "valuable metadata changes in a log",
		"couldn't initialize XFS library", "contains a mounted filesystem", "Cannot allocate memory", "out of memory",
	}
}

// other reports whether blkid saw something else than a type of file system. It
// doesn't tell the types of ext apart as the plan does, and where two signatures
// are (8) it says nothing.
func other(content string, code int, out string) bool {
	const nothing = 2
	family := func(s string) string {
		if slices.Contains([]string{"ext2", "ext3", "ext4", "ext4dev"}, s) {
			return "ext"
		}
		return s
	}
	return code == nothing || code == 0 && family(strings.TrimSpace(out)) != family(content)
}

// New returns the complaints of a check that an earlier one of the same file
// system did not have. Numbers don't count: what was counted wrongly before is so
// still when files were written since. One kind more often than before does.
func (f Finding) New(before Finding) []string {
	had := make(map[string]int)
	for _, line := range before.Complaints() {
		had[kind(line)]++
	}
	var out []string
	for _, line := range f.Complaints() {
		if had[kind(line)]--; had[kind(line)] < 0 {
			out = append(out, line)
		}
	}
	return out
}

// Complaints are the lines of a check's output without those that only say how
// far it is.
func (f Finding) Complaints() []string {
	var out []string
	for line := range strings.Lines(f.Out) {
		text := strings.TrimSpace(line)
		chatter := func(s string) bool { return strings.HasPrefix(text, s) }
		if text != "" && !slices.ContainsFunc([]string{
			"- ", "Phase ", "Pass ", "e2fsck ", "fsck.fat ", "No modify flag set", "Fix? no", "Clear? no",
		}, chatter) {
			out = append(out, text)
		}
	}
	return out
}

// kind is a line without its numbers: only words without digits.
func kind(line string) string {
	words := strings.FieldsFunc(line, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return strings.ContainsFunc(w, unicode.IsDigit) }), " ")
}

// Says is the check's first complaints and its status, on one line.
func (f Finding) Says() string {
	said := strings.Join(f.Complaints(), " ")
	if len(said) > mostSaid {
		said = said[:mostSaid] + " …"
	}
	if f.Code != 0 {
		said = fmt.Sprintf("(status %d) %s", f.Code, said)
	}
	return fit.Lines(said)
}
