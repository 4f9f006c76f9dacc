package guest

import "fmt"

// Checked is what came of checking one of a guest's file systems, as it was
// copied and again after the conversion. A conversion that does new damage fails:
// what is wrong here was so at the source.
type Checked struct {
	Mount
	Verdict Verdict `json:"verdict"`
	Said    string  `json:"said,omitempty"` // by the check, or why there was none
}

// Verdict is what is known of a file system by its checks.
type Verdict string

// The verdicts. One that was not checked may well be sound.
const (
	CheckedSound   Verdict = "sound"
	CheckedDamaged Verdict = "damaged at the source"
	CheckedBefore  Verdict = "sound before the conversion, not checked after it"
	NotChecked     Verdict = "not checked"
)

// Text says it, and what to do about damage.
func (c Checked) Text() string {
	text := fmt.Sprintf("%s on %s, which no line of fstab mounts: %s", c.Content, c.Device, c.Verdict)
	if c.At != "" {
		text = fmt.Sprintf("%s at %s (%s): %s", c.Content, c.At, c.Device, c.Verdict)
	}
	if c.Said != "" {
		text += ": " + c.Said
	}
	if c.Verdict == CheckedDamaged {
		text += fmt.Sprintf(". The conversion added nothing to that. To repair it, unmount it in the guest, or start a rescue system for its root, and run %s on it", c.repair())
	}
	return text
}

// repair is the program that repairs it.
func (c Checked) repair() string {
	switch c.Content {
	case "xfs":
		return "xfs_repair"
	case "vfat":
		return "fsck.vfat"
	}
	return "e2fsck -f"
}
