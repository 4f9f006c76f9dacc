package guest

import "testing"

// TestCheckedText: what could not be checked is never called damaged.
func TestCheckedText(t *testing.T) {
	srv := Mount{Device: "/dev/vg/data", At: "/srv", Content: "xfs"}
	for _, tt := range []struct {
		c    Checked
		want string
	}{
		{Checked{srv, CheckedSound, ""}, "xfs at /srv (/dev/vg/data): sound"},
		{
			Checked{srv, CheckedDamaged, "(status 1) bad"},
			"xfs at /srv (/dev/vg/data): damaged at the source: (status 1) bad. The conversion added nothing to that. To repair it, unmount it in the guest, or start a rescue system for its root, and run xfs_repair on it",
		},
		{
			Checked{Mount{Device: "/dev/vg/efi", Content: "vfat"}, CheckedDamaged, "bad"},
			"vfat on /dev/vg/efi, which no line of fstab mounts: damaged at the source: bad. The conversion added nothing to that. To repair it, unmount it in the guest, or start a rescue system for its root, and run fsck.vfat on it",
		},
		{
			Checked{Mount{Device: "/dev/vg/root", At: "/", Content: "ext4"}, CheckedDamaged, "bad"},
			"ext4 at / (/dev/vg/root): damaged at the source: bad. The conversion added nothing to that. To repair it, unmount it in the guest, or start a rescue system for its root, and run e2fsck -f on it",
		},
		{Checked{Mount{Device: "/dev/vg/b", At: "/b", Content: "btrfs"}, NotChecked, "esxodus has no check for it"}, "btrfs at /b (/dev/vg/b): not checked: esxodus has no check for it"},
		{Checked{srv, CheckedBefore, "(status 124) killed"}, "xfs at /srv (/dev/vg/data): sound before the conversion, not checked after it: (status 124) killed"},
	} {
		if got := tt.c.Text(); got != tt.want {
			t.Errorf("Text of %+v = %q; want %q", tt.c, got, tt.want)
		}
	}
}
