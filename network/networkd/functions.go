package networkd

import (
	"fmt"
	"strings"
)

// FunctionLink is a .link file by which udev makes an adapter's virtual functions.
// It matches that alone, by udev's path of it. Of the files that match a link udev
// applies only the first, so this says too what the one that counted until now says.
func FunctionLink(path string, count int, instead, settings string) string {
	text := fmt.Sprintf(`# Made by esxodus: virtual functions for domains.

[Match]
Path=%s

[Link]
SR-IOVVirtualFunctions=%d
`, path, count)
	if settings != "" {
		text += "\n# As in " + instead + ", which counted until now:\n" + settings + "\n"
	}
	return text
}

// FunctionRule is the same for a udev that makes none by a .link file.
func FunctionRule(path string, count int) string {
	return fmt.Sprintf("# Made by esxodus: virtual functions for domains.\nACTION==\"add\", SUBSYSTEM==\"net\", ENV{ID_PATH}==\"%s\", ATTR{device/sriov_numvfs}=\"%d\"\n", path, count)
}

// FunctionsUnmanaged keeps networkd's hands off virtual functions, which are an
// adapter's as long as no domain has them.
func FunctionsUnmanaged(adapter string, paths []string) string {
	return fmt.Sprintf(`# Virtual functions of %s are for domains.

[Match]
Path=%s

[Link]
Unmanaged=yes
`, adapter, strings.Join(paths, " "))
}
