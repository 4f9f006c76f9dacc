package vmdk_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/disk/vmdk"
)

const esxiDescriptor = "# Disk DescriptorFile\r\nversion=3\r\nencoding=\"UTF-8\"\r\nCID=fffffffe\r\nparentCID=ffffffff\r\n" +
	"createType=\"vmfs\"\r\n\r\n# Extent description\r\nRW 16777216 VMFS \"Büro \"1\" 100%-flat.vmdk\"\r\n\r\n" +
	"# Change Tracking File\r\nchangeTrackPath=\"web-ctk.vmdk\"\r\n\r\n# The Disk Data Base \r\n#DDB\r\n\r\n" +
	"ddb.adapterType = \"pvscsi\"\r\nDDB.ThinProvisioned = \"1\"\r\n"

func TestParseDescriptor(t *testing.T) {
	got, err := vmdk.ParseDescriptor([]byte(esxiDescriptor))
	if err != nil {
		t.Fatal(err)
	}
	want := vmdk.Descriptor{
		Version: 3, Encoding: "UTF-8", CID: 0xfffffffe, ParentCID: 0xffffffff, CreateType: "vmfs", ChangeTrackPath: "web-ctk.vmdk",
		Extents: []vmdk.Extent{{Access: "RW", Sectors: 16777216, Kind: "VMFS", Name: `Büro "1" 100%-flat.vmdk`}},
		DDB:     map[string]string{"ddb.adaptertype": "pvscsi", "ddb.thinprovisioned": "1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ParseDescriptor (-want +got):\n%s", diff)
	}
	if got.HasParent() || got.Size() != 8<<30 {
		t.Errorf("HasParent() = %t, Size() = %d; want false, 8 GiB", got.HasParent(), got.Size())
	}
	again, err := vmdk.ParseDescriptor([]byte(got.String()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("written and parsed again:\n%s", diff)
	}
}

func TestEncodings(t *testing.T) {
	for _, tt := range []struct{ encoding, name, want string }{
		{"windows-1252", "B\xfcro\x80", "Büro€"},
		{"WINDOWS-1252", "\xe9", "é"},
		{"GBK", "\xb7\xfe\xce\xf1\xc6\xf7", "服务器"},
		{"Big5", "\xa6\xf8\xaa\x41\xbe\xb9", "伺服器"},
		{"Shift_JIS", "\x83\x54\x81\x5b\x83\x6f", "サーバ"},
		{"Shift_JIS", "\x95\x5c", "表"}, // its second byte is a backslash
		{"UTF-8", "Сервер", "Сервер"},
		{"EBCDIC", "plain", "plain"},
	} {
		text := "# Disk DescriptorFile\nversion=1\nencoding=\"" + tt.encoding + "\"\nCID=1\nparentCID=ffffffff\ncreateType=\"vmfs\"\n" +
			"RW 8 VMFS \"" + tt.name + "-flat.vmdk\"\n"
		d, err := vmdk.ParseDescriptor([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", tt.encoding, err)
			continue
		}
		if got := d.Extents[0].Name; got != tt.want+"-flat.vmdk" {
			t.Errorf("%s: name is %q; want %q", tt.encoding, got, tt.want+"-flat.vmdk")
		}
	}
}

// TestDescriptorAfterNUL: qemu-img writes the descriptor twice, the second
// time with another CID; if that has fewer digits, the end of the first text
// stands behind the zeros.
func TestDescriptorAfterNUL(t *testing.T) {
	text := "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 8 FLAT \"a-flat.vmdk\" 0\n"
	d, err := vmdk.ParseDescriptor([]byte(text + "\x00\n\x00\x00"))
	if err != nil || len(d.Extents) != 1 {
		t.Errorf("ParseDescriptor = %+v, %v; want one extent", d, err)
	}
}
