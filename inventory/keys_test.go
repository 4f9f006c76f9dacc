package inventory

import (
	"strings"
	"testing"
)

// TestGenerationID: the numbers of an ESXi VM, and the id that its guest sees
// on QEMU, byte for byte the one that it had.
func TestGenerationID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ id, idx, want string }{
		{"-8536691797830587195", "-1723453263670062919", "09512cc5-940a-8987-b950-f54f631015e8"},
		{"1", "2", "00000001-0000-0000-0200-000000000000"},
		{"-1", "x", ""},
		{"", "1", ""},
		{"9223372036854775808", "1", ""},
	} {
		var vm VM
		vm.SetOptions(map[string]string{"vm.genid": tt.id, "vm.genidX": tt.idx})
		if vm.GenerationID != tt.want {
			t.Errorf("vm.genid %s, vm.genidX %s: %q; want %q", tt.id, tt.idx, vm.GenerationID, tt.want)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"machine.id", "Machine.ID", "guestinfo.userdata", "guestinfo.metadata", "guestinfo.ovfEnv", "RemoteDisplay.vnc.password", "RemoteDisplay.vnc.key",
		"encryption.keySafe", "encryption.data", "dataFileKey", "encryption.encryptedKey", "my.apiKey", "db.passwd", "cloud.user-data", "svc.token", "root.pwd",
		"luks.passphrase", "ssh.privateKey", "x.secretThing", "vtpm.ekCSR", "a.credentials",
	} {
		var vm VM
		vm.SetOptions(map[string]string{key: "root:EXAMPLE"})
		if got := vm.Extra[strings.ToLower(key)]; got != "(12 bytes)" {
			t.Errorf("%s is shown as %q", key, got)
		}
	}
	for _, key := range []string{"RemoteDisplay.vnc.port", "RemoteDisplay.vnc.enabled", "isolation.tools.copy.disable", "monitor_control.x", "keyboard.typematicMinDelay"} {
		var vm VM
		vm.SetOptions(map[string]string{key: "5901"})
		if got := vm.Extra[strings.ToLower(key)]; got != "5901" {
			t.Errorf("%s is shown as %q; want it as it is", key, got)
		}
	}
	for in, want := range map[string]string{
		"telnet://root:EXAMPLE@h:23": "telnet://root:xxxxx@h:23", "telnet://h:23": "telnet://h:23", "file [x] a@b": "file [x] a@b", "tcp://a:%zz@h": "tcp://***@h",
	} {
		if got := WithoutPassword(in); got != want {
			t.Errorf("WithoutPassword(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestThroughput(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Disk{
		"500": {IOPSLimit: 500}, "80IOps": {IOPSLimit: 80}, "80 iops": {IOPSLimit: 80}, "2KIOps": {IOPSLimit: 2000},
		"10MBps": {BytesLimit: 10 << 20}, "10mbPS": {BytesLimit: 10 << 20}, "512KBps": {BytesLimit: 512 << 10}, "1GBps": {BytesLimit: 1 << 30}, "700Bps": {BytesLimit: 700},
		"off": {}, "Unlimited": {}, "-1": {}, "": {}, "0": {},
	} {
		vm := VM{Disks: []Disk{{Class: "scsi", Unit: 1}}}
		vm.SetOptions(map[string]string{"sched.scsi0:1.throughputCap": in})
		if d := vm.Disks[0]; d.IOPSLimit != want.IOPSLimit || d.BytesLimit != want.BytesLimit || len(vm.Extra) > 0 || len(vm.Problems) > 0 {
			t.Errorf("%q: %d operations, %d bytes, extra %v, problems %v; want %d, %d", in, d.IOPSLimit, d.BytesLimit, vm.Extra, vm.Problems, want.IOPSLimit, want.BytesLimit)
		}
	}
	for _, in := range []string{"fast", "99999999999999999999", "9223372036854775807GBps", "-7"} {
		vm := VM{Disks: []Disk{{Class: "scsi", Unit: 1}}}
		vm.SetOptions(map[string]string{"sched.scsi0:1.throughputCap": in})
		if vm.Extra["sched.scsi0:1.throughputcap"] != in || len(vm.Problems) > 0 {
			t.Errorf("%q: extra %v, problems %v; want it kept, and told in the ledger", in, vm.Extra, vm.Problems)
		}
	}
}

func TestSMBIOS(t *testing.T) {
	t.Parallel()
	var vm VM
	vm.SetOptions(map[string]string{"smbios.assetTag": "A-1", "serialNumber": "S-2", "hw.model": "M 3", "board-id": "B-4"})
	if want := (SMBIOS{AssetTag: "A-1", Serial: "S-2", Model: "M 3", Board: "B-4"}); vm.SMBIOS != want || len(vm.Extra) > 0 {
		t.Errorf("SMBIOS %+v, extra %v; want %+v", vm.SMBIOS, vm.Extra, want)
	}
}
