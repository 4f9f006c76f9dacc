package volume

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"esxodus/convert/host"
)

// Settings are those of a section of lvm.conf, as LVM takes them: their values by
// their names, as they are written there.
func Settings(ctx context.Context, tool host.Runner, section string) (map[string]string, error) {
	out, err := tool.Run(ctx, "lvmconfig", "--typeconfig", "full", section)
	if err != nil {
		return nil, err
	}
	set := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			set[name] = value
		}
	}
	return set, nil
}

// Activation is what this host's lvm.conf keeps of a group from being activated.
type Activation struct {
	Never     bool `json:"never,omitempty"`     // by volume_list
	NotAtBoot bool `json:"notAtBoot,omitempty"` // by auto_activation_volume_list
}

// ActivationOf reads it from the settings of the section activation.
func ActivationOf(set map[string]string, vg string) Activation {
	return Activation{Never: leftOut(set, "volume_list", vg), NotAtBoot: leftOut(set, "auto_activation_volume_list", vg)}
}

// leftOut reports whether a list of lvm.conf is there and has nothing that may mean a
// volume of the group: its name, or that of a volume in it, or a tag.
func leftOut(set map[string]string, list, vg string) bool {
	value, ok := set[list]
	if !ok {
		return false
	}
	return !slices.ContainsFunc(strings.Split(strings.Trim(value, "[]"), ","), func(s string) bool {
		s = strings.Trim(s, `" `)
		group, _, _ := strings.Cut(s, "/")
		return group == vg || strings.HasPrefix(s, "@")
	})
}

// NotAtBoot is what lvm.conf's list means for a group, and BootAdvice what to do.
func NotAtBoot(vg string) string {
	return fmt.Sprintf("LVM activates no volume of %s when this host starts (auto_activation_volume_list in lvm.conf): a domain that starts with it won't find its disks", vg)
}

// BootAdvice is what to do about a group that is not activated at boot.
func BootAdvice(vg string) string {
	return fmt.Sprintf("add %q to that list, or have `vgchange --activate y %s` run before the domains start", vg, vg)
}

// activation says what of the group this host activates. It is an error if that is
// nothing; what LVM's tools don't tell is not.
func (l LVM) activation(ctx context.Context) (Activation, error) {
	set, err := Settings(ctx, hostRunner{l}, "activation")
	if err != nil {
		return Activation{}, nil //nolint:nilerr // whatever is wrong with them, the reports come next
	}
	a := ActivationOf(set, l.VG)
	if a.Never {
		return a, fmt.Errorf("volume group %[1]s: LVM activates none of its volumes on this host: volume_list in lvm.conf lacks it: add %[1]q to that list", l.VG)
	}
	return a, nil
}
