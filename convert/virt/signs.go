package virt

import "regexp"

// sign is a pattern that shows how a boot ended.
type sign struct {
	kind    outcomeKind
	reason  string
	prompt  bool // stands at the end of what was written, without a newline
	late    bool // a prompt that may also be found after more was written to its line
	loose   bool // a prompt only if it is written again as an answer
	early   bool // means nothing after a login prompt
	pattern *regexp.Regexp
}

// What failures mean.
const (
	noRoot    = "the initramfs found no root file system"
	inShell   = "the initramfs stopped in its shell"
	emergency = "the guest stopped in emergency mode"
	fsckAsks  = "the guest stopped for a file system check that nobody answers"
	noGRUB    = "GRUB found nothing to boot"
	noLILO    = "LILO found nothing to boot"
	noSystem  = "the firmware found nothing to boot"
	noInit    = "init gave up"
)

// says reports whether a line, whole or so far, has the sign.
func (s *sign) says(line string, whole bool) bool {
	if s.prompt && whole && !s.late || s.kind == up && lastLogin.MatchString(line) {
		return false
	}
	return s.pattern.MatchString(line)
}

// bootSigns lists the signs in the order that they are looked for: failures
// first.
func bootSigns() []sign {
	var signs []sign
	for _, s := range []struct{ reason, pattern string }{
		{"the kernel panicked", `Kernel panic - not syncing|end Kernel panic`},
		{"the kernel found no root file system", `VFS: (Unable to mount root fs|Cannot open root device)`},
		{noRoot, `Gave up waiting for (root|suspend/resume)? ?(file system )?device|ALERT! +\S+ does not exist|Warning: Could not boot\.|dracut-initqueue.*(Could not boot|timeout - starting timeout scripts.*emergency)`},
		{noRoot, `[Dd]rop(ping|ped) (you )?(in)?to (an? )?(recovery |debug |emergency |rescue )?shell|initramfs emergency recovery shell launched|dracut: Refusing to continue`},
		{fsckAsks, `requires a manual fsck|automatic file system check \(fsck\) of the root|\*\*\* (An error occurred during the|Dropping you to a shell)|(Press|or) S to skip( mounting)?( or|,)`},
		{emergency, `You are in (emergency|rescue) mode|Entering emergency mode|Welcome to (emergency|rescue) mode|(Reached target|Started|Starting) (\S+ - )?(Emergency|Rescue) (Mode|Shell)`},
		{emergency, `Give root password for|[Pp]ress (Enter for (emergency shell|maintenance)|Control-D to continue)|access to console, the root account is locked|login for system maintenance`},
		{noInit, `systemd\[1\]: Freezing execution|No working init found|Enter full pathname of shell or RETURN`},
		{noGRUB, `^ *(Entering rescue mode\.\.\.|error: .*you need to load the kernel first|.*Minimal BASH-like line editing is supported)|^GRUB .*\b(Hard Disk|Read|Geom) Error|^(GRUB .*)?Error \d{1,2}(: (File not found|Selected disk does not exist|No such partition|Cannot mount selected partition|Disk read error|Invalid or unsupported)|$)`},
		{noLILO, `^No image is left\. Start a rescue system`},
		// SeaBIOS repaints its line when the port is slow: "No bootabb", "le device."
		{noSystem, `^No boota|^(No )?b?o?o?t?able device\.( Retrying in \d+ seconds\.)?$`},
		{noSystem, `No bootable (device|option|medium)|BdsDxe: No bootable|Operating system not found|Missing operating system|Error loading operating system|Invalid partition table|UEFI Interactive Shell|Reboot and [Ss]elect proper [Bb]oot device`},
		{"Windows' loader found nothing to boot", `(BOOTMGR|NTLDR) is (missing|compressed|corrupt)|A disk read error occurred`},
	} {
		signs = append(signs, sign{kind: failed, reason: s.reason, pattern: regexp.MustCompile(s.pattern)})
	}
	shells := regexp.MustCompile(`^ *(\(initramfs\)|dracut:[^ ]*#|(sh|bash)-[0-9.]+#|rdshell.*#|\[rootfs .*\]#)`)
	signs = append(signs, sign{kind: failed, reason: inShell, prompt: true, late: true, early: true, pattern: shells})
	for _, s := range []struct{ reason, pattern string }{
		{fsckAsks, `<[yn]>\? *$`},
		{noGRUB, `^ *grub( rescue)?> *`},
		{noSystem, `^ *(Shell> |2\.0 Shell>|mountroot>)`},
	} {
		signs = append(signs, sign{kind: failed, reason: s.reason, prompt: true, late: true, pattern: regexp.MustCompile(s.pattern)})
	}
	return append(signs, loginSigns()...)
}

// hostName is what stands in front of a login prompt.
const hostName = `[\pL\pN][\pL\pN._-]*`

// loginSigns are those of a getty's prompt, "web login: ". It stands alone in its
// line, but for what others write there, whose beginnings are known: the kernel,
// systemd, cloud-init, and agetty itself for a login that it makes. What an issue
// file without a last newline leaves in front of it could be anything.
func loginSigns() []sign {
	return []sign{
		{kind: up, prompt: true, pattern: regexp.MustCompile(`^(` + hostName + ` )?[Ll]ogin: ?$`)},
		{kind: up, pattern: regexp.MustCompile(`^` + hostName + ` login:$`)},
		{kind: up, pattern: regexp.MustCompile(`^` + hostName + ` login: (\[| {2,}|<\d+>|ci-info: |cloud-init|\S+ \(automatic login\))`)},
		{kind: up, pattern: regexp.MustCompile(`^Please press Enter to activate this console\.`)},
		{kind: up, prompt: true, loose: true, pattern: regexp.MustCompile(`\s[Ll]ogin: $`)},
	}
}

// lastLogin is not a prompt, but what sshd and login write.
var lastLogin = regexp.MustCompile(`^[Ll]ast login:`)
