package inventory

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Secret reports whether the value of a key of a .vmx, or of the API's
// extraConfig, is private: what is handed to the guest, from which
// cloud-init and others take passwords, the console's password, what the VM's
// files are encrypted with, and whatever calls itself a password or a key. The
// key may have any case.
func Secret(key string) bool {
	key = strings.ToLower(key)
	switch {
	case key == "machine.id", // guestinfo's name before there was guestinfo
		hasPrefix(key, "guestinfo.", "encryption.", "keysafe", "datafilekey", "cryptostate", "vapp.", "ovfenv", "guest.commands.", "vtpm.ek"):
		return true
	case strings.HasSuffix(key, ".key"), strings.HasSuffix(key, ".pin"):
		return true
	}
	// Nothing of these is long: the rest of a key of any length is not a word.
	return slices.ContainsFunc([]string{
		"passw", "passphrase", "passcode", "pwd", "secret", "keysafe", "credential", "token", "privatekey", "private_key", "private-key",
		"apikey", "api_key", "api-key", "accesskey", "access_key", "encryptionkey", "datafilekey", "userdata", "user-data", "user_data", "ovfenv", "machine.id",
	}, func(word string) bool { return strings.Contains(key, word) })
}

// Hidden is what is shown of a secret's value.
func Hidden(value string) string { return fmt.Sprintf("(%d bytes)", len(value)) }

// WithoutPassword is the address of a device without the password that it may
// hold: telnet://user:PASSWORD@host.
func WithoutPassword(address string) string {
	if !strings.Contains(address, "://") || !strings.Contains(address, "@") {
		return address
	}
	u, err := url.Parse(address)
	if err != nil {
		scheme, rest, _ := strings.Cut(address, "://")
		return scheme + "://***@" + rest[strings.LastIndex(rest, "@")+1:]
	}
	if _, has := u.User.Password(); !has {
		return address
	}
	return u.Redacted()
}

func hasPrefix(key string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// maxKnown is more than any key has that this program knows by its parts.
const maxKnown = 128

// bookkeeping reports whether a key, in lower case, is what ESXi writes for
// itself and reads back: it says nothing of the machine that the guest sees.
func bookkeeping(key string) bool {
	if len(key) > maxKnown {
		return false
	}
	switch key {
	case ".encoding", "config.version", "cleanshutdown", "softpoweroff", "svga.present", "svga.guestbackedprimaryaware", "svga.autodetect",
		"sched.swap.derivedname", "uuid.location", "uuid.bios", "vc.uuid", "monitor.phys_bits_used", "tools.upgrade.policy", "tools.remindinstall",
		"tools.guest.desktop.autolock", "evccompatibilitymode", "extendedconfigfile", "guestos.detailed.data", "nvram", "vmsetmodel",
		"snapshot.numsnapshots", "policy.vm.mvmtid", "sched.cpu.latencysensitivity", "sched.mem.latencysensitivity", "disable_acceleration", "msg.autoanswer":
		return true
	}
	switch {
	case hasPrefix(key, "virtualhw.", "vmci0.", "hpet0.", "vmotion.", "migrate.", "replay.", "checkpoint.", "viv.", "vmxstats.", "powertype.",
		"toolscripts.", "toolsinstallmanager.", "vmware.tools.", "numa.autosize.", "hostcpuid.", "guestcpuid.", "usercpuid.", "snapshot.mru", "featmask.",
		"virtualdev.", "virtualhwdev."):
		return true
	case strings.HasSuffix(key, ".pcislotnumber"):
		return true
	case strings.HasPrefix(key, "pcibridge"):
		number, _, dotted := strings.Cut(key[len("pcibridge"):], ".")
		return dotted && number != "" && strings.Trim(number, "0123456789") == ""
	}
	address, name, ok := strings.Cut(key, ".")
	return ok && (name == "redo" || name == "ctkenabled") && diskAddress.MatchString(address)
}
