package vmx

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"esxodus/inventory"

	"github.com/google/go-cmp/cmp"
)

func TestTraps(t *testing.T) {
	got, err := Read(os.DirFS("testdata"), "traps.vmx")
	if err != nil {
		t.Fatal(err)
	}
	want := inventory.VM{
		Name: `Web "front" 50% | ü`, Path: "traps.vmx", Annotation: "first\nsecond\r\n", HardwareVersion: 13, GuestID: "windows2019srv_64Guest",
		BIOSUUID: "564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7", InstanceUUID: "52001122-3344-5566-7788-99aabbccddee", GenerationID: "ffffffff-ffff-ffff-f0de-bc9a78563412",
		Power: inventory.PowerUnknown, Firmware: inventory.EFI, SecureBoot: true, TPM: true, NVRAM: "web.nvram",
		BootOrder: []string{"cdrom", "disk:2010", "disk:3000", "ethernet:4002"}, HDDOrder: []string{"scsi0:10", "ide0:0"}, BootDelay: 3000,
		CPU:    inventory.CPU{Count: 4, CoresPerSocket: 2, ReservationMHz: 500, LimitMHz: -1, Shares: 8000, SharesLevel: "high", Affinity: []int{0, 2, 3}, Masked: true},
		Memory: inventory.Memory{SizeMiB: 4096, ReservationMiB: 1024, LimitMiB: 4096, Shares: 12345, SharesLevel: "custom", Locked: true},
		Controllers: []inventory.Controller{
			{Key: 15000, Class: "sata", Model: "ahci"},
			{Key: 200, Class: "ide", Model: "ide"},
			{Key: 201, Class: "ide", Bus: 1, Model: "ide"},
			{Key: 1000, Class: "scsi", Model: "pvscsi"},
			{Key: 31000, Class: "nvme", Model: "nvme"},
		},
		Disks: []inventory.Disk{
			{Key: 3000, Class: "ide", Path: "/vmfs/volumes/5f-1/old/ide.vmdk", Format: "flat", Mode: "persistent", Shares: 1000},
			{Key: 2002, Class: "scsi", Unit: 2, Path: "my disk 100%.vmdk", Format: "flat", Mode: "independent_nonpersistent", MultiWriter: true, IOPSLimit: 500, Shares: 2000},
			{Key: 2010, Class: "scsi", Unit: 10, Path: "web_10.vmdk", Format: "flat", Mode: "persistent", Shares: 1000},
			{Key: 2016, Class: "scsi", Bus: 1, Path: "lost.vmdk", Format: "flat", Mode: "persistent", Shares: 1000},
			{Key: 32000, Class: "nvme", Path: "fast.vmdk", Format: "flat", Mode: "persistent", Shares: 1000},
		},
		NICs: []inventory.NIC{
			{Key: 4002, Index: 2, Model: "vmxnet3", MAC: "00:50:56:00:00:02", MACType: "manual", PortGroup: "two", PCISlot: 224},
			{Key: 4004, Index: 4, Model: "pcnet32", MAC: "00:0c:29:00:00:04", MACType: "generated", Distributed: "dvportgroup-7", StartConnected: true},
			{Key: 4010, Index: 10, Model: "e1000", MAC: "00:50:56:aa:bb:10", MACType: "assigned", PortGroup: "ten", StartConnected: true},
		},
		CDROMs: []inventory.CDROM{
			{Class: "sata", Unit: 1, ISO: "/vmfs/volumes/5f-1/iso/d.iso", StartConnected: true},
			{Class: "ide", Bus: 1, Device: "/vmfs/devices/cdrom/mpx.vmhba64"},
			{Class: "scsi", Unit: 6, StartConnected: true},
		},
		SerialPorts: []inventory.Port{{Backing: "network", Target: "telnet://:2000", Direction: "server", StartConnected: true}},
		USB:         []string{"ehci", "xhci"}, USBDevices: []string{"path:1/0/1 autoclean:1"}, Passthrough: []string{"0000:03:00.0"}, Sound: "hdaudio",
		Video: inventory.Video{RAMKiB: 8192}, NestedHV: true, DiskEnableUUID: true, ClockOffset: "3600",
		Extra: map[string]string{
			"cpuid.1.ecx": "----:----:----:----:----:----:----:--0-", "guestinfo.userdata": "(20 bytes)", "isolation.tools.copy.disable": "TRUE",
		},
		Problems: []string{"scsi1:0 is present but its controller scsi1 is not"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("traps.vmx (-want +got):\n%s", diff)
	}
}

func TestEncodings(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"UTF-8", ".encoding = \"UTF-8\"\ndisplayName = \"Zoë 日本\"", "Zoë 日本"},
		{"none, valid UTF-8", "displayName = \"Zoë\"", "Zoë"},
		{"byte order mark", "\xef\xbb\xbf.encoding = \"UTF-8\"\r\ndisplayName = \"Zoë\"\r\n", "Zoë"},
		{"none, not UTF-8", "displayName = \"Zo\xeb\"", "Zoë"},
		{"windows-1252", ".encoding = \"windows-1252\"\ndisplayName = \"Zo\xeb \x80\"", "Zoë €"},
		{"Shift_JIS with a bar in a character", ".encoding = \"Shift_JIS\"\ndisplayName = \"\x83\x7c\x83\x5c 41\"", "ポソ 41"},
		{"GBK", ".encoding = \"GBK\"\ndisplayName = \"\xd6\xd0\xce\xc4\"", "中文"},
		{"escaped UTF-8", ".encoding = \"UTF-8\"\ndisplayName = \"|E6|97|A5x|22\"", "日x\""},
		{"escaped GBK", ".encoding = \"GBK\"\ndisplayName = \"|D6|D0|CE|C4\"", "中文"},
		{"encoding after its first use", "displayName = \"Zo\xeb\"\n  .ENCODING = windows-1252", "Zoë"},
		{"bar that is none", "displayName = \"a|b|2|zz|\"", "a|b|2|zz|"},
		{"invalid", ".encoding = \"UTF-8\"\ndisplayName = \"\xff\"", "\uFFFD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse([]byte(tt.in))
			if err != nil || f.Values["displayname"] != tt.want {
				t.Errorf("displayName = %q, %v; want %q", f.Values["displayname"], err, tt.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, in, err string }{
		{"no equals sign", "config.version = \"8\"\nnonsense\n", `line 2: want key = "value"`},
		{"no closing quote", "a = \"b", "no closing quote"},
		{"text after the value", `a = "b" c`, "after the closing quote"},
		{"zero byte", "a = \"b\"\x00", "zero byte at 7"},
		{"unknown character set", ".encoding = \"klingon\"\na = \"\xff\"", `.encoding "klingon"`},
		{"UTF-16", `.encoding = "UTF-16"`, `"UTF-16": the file is not in it`},
		{"a key with a space", `a b = "c"`, "line 1"},
		{"too large", strings.Repeat("#\n", maxSize/2+1), "want at most"},
		{"an HTML page", "<html>\n<body>", "line 1: want key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse([]byte(tt.in)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Parse error = %v; want %q", err, tt.err)
			}
		})
	}
	f, err := Parse([]byte("a = \"b\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.vm(""); !errors.Is(err, ErrFormat) {
		t.Errorf("VM of no machine = %v; want %v", err, ErrFormat)
	}
}

func TestProblems(t *testing.T) {
	for in, want := range map[string]string{
		`memsize = "-4"`:                                           `memsize is "-4"`,
		`memsize = "lots"`:                                         `memsize is "lots"`,
		`numvcpus = "99999999999"`:                                 "numvcpus is 99999999999",
		`numvcpus = "0"`:                                           `numvcpus is "0"`,
		`sched.cpu.affinity = "0-99999999"`:                        "sched.cpu.affinity",
		"memsize = \"4\"\nMEMSIZE = \"8\"":                         `memsize is set twice, to "4" and "8"`,
		`scsi0:00.present = "TRUE"`:                                "leading zero",
		"ide0:0.present = 1\nide0:0.deviceType = \"ata-hardDisk\"": "disk ide0:0 names no file",
	} {
		f, err := Parse([]byte("config.version = \"8\"\n" + in))
		if err != nil {
			t.Fatal(err)
		}
		vm, err := f.vm("")
		if err != nil || !strings.Contains(strings.Join(vm.Problems, ";"), want) {
			t.Errorf("%s: problems %q, %v; want %q", in, vm.Problems, err, want)
		}
	}
}

func TestGuestID(t *testing.T) {
	for in, want := range map[string]string{
		"debian10-64": "debian10_64Guest", "ubuntu-64": "ubuntu64Guest", "windows9srv-64": "windows9Server64Guest", "windows7srv-64": "windows7Server64Guest",
		"windows2019srv-64": "windows2019srv_64Guest", "other3xlinux-64": "other3xLinux64Guest", "other-64": "otherGuest64", "other": "otherGuest",
		"centos7-64": "centos7_64Guest", "winxppro": "winXPProGuest", "longhorn-64": "winLonghorn64Guest", "rhel7-64": "rhel7_64Guest",
		"freebsd-64": "freebsd64Guest", "otherlinux-64": "otherLinux64Guest", "plan9": "plan9", "": "", "windows9-64": "windows9_64Guest", "sles12-64": "sles12_64Guest",
	} {
		if got := guestID(in); got != want {
			t.Errorf("guestID(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestReadDescriptors(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	const machine = "config.version = \"8\"\nscsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"web-000001.vmdk\"\n"
	base := "# Disk DescriptorFile\nCID=ABCD0001\nparentCID=ffffffff\ncreateType=\"vmfs\"\nRW 2048 VMFS \"web-flat.vmdk\"\nddb.uuid = \"60 00 C2 9a 00 11 22 33-44 55 66 77 88 99 aa bb\"\nddb.thinProvisioned = \"1\"\n"
	delta := "# Disk DescriptorFile\nCID=abcd0002\nparentCID=abcd0001\ncreateType=\"vmfsSparse\"\nparentFileNameHint=\"web.vmdk\"\nRW 2048 VMFSSPARSE \"web-000001-delta.vmdk\"\n"
	sparse := func() string {
		b := make([]byte, 2048)
		copy(b, "KDMV")
		b[13] = 8 // 2048 sectors
		b[28], b[36] = 1, 2
		copy(b[512:], "# Disk DescriptorFile\nCID=1\ncreateType=\"monolithicSparse\"\nRW 2048 SPARSE \"x\"\n")
		return string(b)
	}()
	tests := []struct {
		name     string
		files    fstest.MapFS
		capacity int64
		format   string
		parents  string
		problem  string
	}{
		{name: "no descriptor", files: fstest.MapFS{}, format: "flat"},
		{name: "chain", files: fstest.MapFS{"d/web-000001.vmdk": file(delta), "d/web.vmdk": file(base)}, capacity: 1 << 20, format: "sparse", parents: "d/web.vmdk"},
		{name: "chain in another encoding", files: fstest.MapFS{"d/web-000001.vmdk": file(strings.ReplaceAll(strings.ReplaceAll(delta, "\nCID=abcd0002", "\nencoding=\"windows-1252\"\nCID=abcd0002"), "web.vmdk", "B\xfcro.vmdk")), "d/Büro.vmdk": file(base)}, capacity: 1 << 20, format: "sparse", parents: "d/Büro.vmdk"},
		{name: "sparse", files: fstest.MapFS{"d/web-000001.vmdk": file(sparse)}, capacity: 1 << 20, format: "sparse"},
		{name: "chain that loops", files: fstest.MapFS{"d/web-000001.vmdk": file(strings.ReplaceAll(delta, "web.vmdk", "web-000001.vmdk"))}, capacity: 1 << 20, format: "sparse", problem: "or a circle"},
		{name: "parent elsewhere", files: fstest.MapFS{"d/web-000001.vmdk": file(strings.ReplaceAll(delta, "web.vmdk", "/vmfs/volumes/x/web.vmdk"))}, capacity: 1 << 20, format: "sparse", parents: "/vmfs/volumes/x/web.vmdk"},
		{name: "parent outside", files: fstest.MapFS{"d/web-000001.vmdk": file(strings.ReplaceAll(delta, "web.vmdk", "../../../etc/passwd"))}, capacity: 1 << 20, format: "sparse", parents: "../../etc/passwd"},
		{name: "not a descriptor", files: fstest.MapFS{"d/web-000001.vmdk": file("root:x:0:0")}, format: "flat", problem: "not a VMDK descriptor"},
		{name: "absurd size", files: fstest.MapFS{"d/web-000001.vmdk": file(strings.ReplaceAll(delta, "2048", "99999999999999999999"))}, format: "flat", problem: "extent of 99999999999999999999 sectors"},
		{name: "directory", files: fstest.MapFS{"d/web-000001.vmdk/x": file("")}, format: "flat", problem: "not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.files["d/web.vmx"] = file(machine)
			vm, err := Read(tt.files, "d/web.vmx")
			if err != nil {
				t.Fatal(err)
			}
			d, all := vm.Disks[0], strings.Join(vm.Problems, ";")
			if d.Path != "d/web-000001.vmdk" || d.Capacity != tt.capacity || string(d.Format) != tt.format || tt.parents != "" && strings.Join(d.Parents, ",") != tt.parents {
				t.Errorf("disk = %+v; want %d bytes, %s, %s", d, tt.capacity, tt.format, tt.parents)
			}
			if (tt.problem == "") != (all == "") || !strings.Contains(all, tt.problem) {
				t.Errorf("problems = %q; want %q", all, tt.problem)
			}
			if tt.name == "chain" && (!d.Thin || d.UUID != "6000c29a-0011-2233-4455-66778899aabb" || d.ContentID != "abcd0002") {
				t.Errorf("disk = %+v", d)
			}
		})
	}
}

// FuzzParse: no panic, no more memory than the file, and the same machine
// whatever the order of the lines.
func FuzzParse(f *testing.F) {
	traps, err := os.ReadFile("testdata/traps.vmx")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(traps)
	f.Add([]byte(".encoding = \"Shift_JIS\"\nconfig.version = 1\ndisplayName = \"\x83\x7c|41|E3\""))
	f.Add([]byte("config.version = \"8\"\nscsi999:999.present = \"1\"\nethernet999.present = 1\nsched.mem.shares = high\nmemsize=9223372036854775807"))
	f.Add([]byte("config.version=\nIDE0:0.present=1\nide0:0.filename=../../../x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		vm, err := file.vm("")
		if err != nil {
			return
		}
		again, err := file.vm("")
		if diff := cmp.Diff(vm, again); diff != "" || err != nil {
			t.Errorf("the same file gives two machines (%v):\n%s", err, diff)
		}
		if vm.CPU.Count < 1 || vm.CPU.CoresPerSocket < 1 || vm.Memory.SizeMiB < 1 {
			t.Errorf("CPU %+v, memory %+v", vm.CPU, vm.Memory)
		}
		for k, v := range vm.Extra {
			if strings.HasPrefix(k, "guestinfo.") && !strings.HasSuffix(v, " bytes)") {
				t.Errorf("%s is shown as %q", k, v)
			}
		}
	})
}

func FuzzDescriptor(f *testing.F) {
	f.Add([]byte("# Disk DescriptorFile\nCID=1\nRW 2048 VMFS \"x\"\n"))
	f.Add(append([]byte("KDMV"), bytes.Repeat([]byte{1}, 2000)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := parseDescriptor(b); err == nil && d.capacity <= 0 {
			t.Errorf("capacity %d", d.capacity)
		}
	})
}
