package planfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"esxodus/convert/converttest"
	"esxodus/convert/domain"
	"esxodus/convert/plan"
	"esxodus/inventory"
	"esxodus/network"

	"github.com/google/go-cmp/cmp"
)

// madeUp makes a plan of n VMs in which every name and note holds s.
func madeUp(t *testing.T, n int, s string) *plan.Plan {
	t.Helper()
	h := &inventory.Host{
		Name: "esx " + s, Version: "8.0.0",
		Network: inventory.Network{
			VSwitches:  []inventory.VSwitch{{Name: "vSwitch " + s, MTU: 1500, Uplinks: []string{"vmnic0"}}},
			PortGroups: []inventory.PortGroup{{Name: "net " + s, VSwitch: "vSwitch " + s, VLAN: 7}},
			Uplinks:    []inventory.Uplink{{Device: "vmnic0"}},
		},
		Datastores: []inventory.Datastore{{Name: "ds " + s, Accessible: true}},
	}
	for i := range n {
		h.VMs = append(h.VMs, inventory.VM{
			ID: fmt.Sprint(i + 1), Name: fmt.Sprintf("web%d%s", i, s), Path: "[ds " + s + "] web/web.vmx", Annotation: "first " + s + "\nsecond\n" + s,
			BIOSUUID: fmt.Sprintf("564d0000-0000-0000-0000-%012d", i), InstanceUUID: fmt.Sprintf("520d0000-0000-0000-0000-%012d", i),
			GuestID: "debian10_64Guest", HardwareVersion: 13, Power: inventory.PoweredOff, Firmware: inventory.BIOS, ConnectionState: "connected",
			CPU: inventory.CPU{Count: 1, CoresPerSocket: 1, LimitMHz: -1}, Memory: inventory.Memory{SizeMiB: 256, LimitMiB: -1},
			Controllers: []inventory.Controller{{Key: 1000, Class: "scsi", Model: "pvscsi"}},
			Disks:       []inventory.Disk{{Key: 2000, Label: "disk " + s, Class: "scsi", Path: "[ds " + s + "] web/" + s + ".vmdk", Capacity: 1 << 30, Format: "flat"}},
			NICs: []inventory.NIC{{
				Key: 4000, Label: s, Model: "vmxnet3", MAC: fmt.Sprintf("00:50:56:00:%02x:%02x", i>>8&0xff, i&0xff), MACType: "manual", PortGroup: "net " + s, StartConnected: true,
			}},
			Extra: map[string]string{"custom." + s: s, s: "x"},
		})
	}
	p := converttest.Planned(t, plan.Facts{
		Source: plan.Source{URL: "https://esx1", Host: h.Name, Version: h.Version}, Host: h,
	}, plan.Options{Storage: "dir:/disks", Libvirt: "test:///default", VirtType: "qemu", Network: network.Options{Uplinks: map[string]string{"": "eth0"}}})
	return p
}

// TestAnyCharacters: the plan of a host whose names hold whatever characters
// is saved, in both forms, and reads back equal.
func TestAnyCharacters(t *testing.T) {
	t.Parallel()
	for _, s := range awkward() {
		p := madeUp(t, 1, s)
		for name, write := range map[string]func(io.Writer, *plan.Plan) error{"YAML": WriteYAML, "JSON": WriteJSON} {
			var b bytes.Buffer
			if err := write(&b, p); err != nil {
				t.Errorf("%s of %.60q: %v", name, s, err)
				continue
			}
			got, err := Read(b.Bytes())
			if err != nil {
				t.Errorf("%s of %.60q: read: %v", name, s, err)
				continue
			}
			if diff := cmp.Diff(text(t, p), text(t, got)); diff != "" {
				t.Errorf("%s of %.60q reads back otherwise (-want +got):\n%.2000s", name, s, diff)
			}
		}
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSameJSON: one VM at a time comes to what the whole would.
func TestSameJSON(t *testing.T) {
	t.Parallel()
	for n := range 3 {
		p := madeUp(t, n, "<&> \n  \"vms\": null")
		var got, want bytes.Buffer
		if err := WriteJSON(&got, p); err != nil {
			t.Fatal(err)
		}
		enc := json.NewEncoder(&want)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(p); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.String(), got.String()); diff != "" {
			t.Errorf("%d VMs (-want +got):\n%s", n, diff)
		}
	}
}

// TestReadable: a domain is a block of lines, and a name stands as it is.
func TestReadable(t *testing.T) {
	t.Parallel()
	p := madeUp(t, 1, "")
	var b bytes.Buffer
	if err := WriteYAML(&b, p); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nvms:\n- name: " + domain.Name("web0") + "\n", "\n    xml: |-\n      <domain type=\"qemu\">\n", "\n  storage: dir:/disks\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// meter notes how much memory is in use when something is written.
type meter struct{ most uint64 }

func (m *meter) Write(p []byte) (int, error) {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	m.most = max(m.most, s.HeapAlloc)
	return len(p), nil
}

// TestBoundedMemory: what writing a plan holds at a time goes by its largest
// VM, not by how many there are. It isn't parallel: it measures the heap.
func TestBoundedMemory(t *testing.T) {
	for name, write := range map[string]func(io.Writer, *plan.Plan) error{"YAML": WriteYAML, "JSON": WriteJSON} {
		p := madeUp(t, 1, "")
		for range 9 {
			p.VMs = append(p.VMs, p.VMs...)
		}
		big := strings.Repeat("a line of the guest's configuration\n", 10_000)
		for i := range p.VMs {
			p.VMs[i].Source.Annotation = big // 512 times the same 360 kB
		}
		var before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var m meter
		if err := write(&slow{w: &m}, p); err != nil {
			t.Fatal(err)
		}
		const most = 32 << 20 // the plan is 200 MB as text
		if m.most == 0 || m.most > before.HeapAlloc+most {
			t.Errorf("%s: %d bytes are held beyond the plan; want at most %d", name, m.most-before.HeapAlloc, most)
		}
	}
}

// slow passes on what it gets only now and then: a measurement takes its time.
type slow struct {
	w io.Writer
	n int
}

func (s *slow) Write(p []byte) (int, error) {
	if s.n += len(p); s.n > 4<<20 {
		s.n = 0
		return s.w.Write(p)
	}
	return len(p), nil
}

// broken is a file system that is full.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// TestFull: that the file couldn't be written isn't lost in a buffer.
func TestFull(t *testing.T) {
	t.Parallel()
	p := madeUp(t, 3, "x")
	for name, write := range map[string]func(io.Writer, *plan.Plan) error{"YAML": WriteYAML, "JSON": WriteJSON} {
		if err := write(broken{}, p); err == nil {
			t.Errorf("%s onto a full file system = nil", name)
		}
	}
}

// TestPieces: a file read one VM at a time is what it is when read at once.
// What isn't of the form, or has been edited so that it isn't, is read at once.
func TestPieces(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "a\n- b\n- c", "vms:\n- x", "- x", "\n- \u0092"} {
		for n := 1; n < 4; n++ {
			p := madeUp(t, n, s)
			var b bytes.Buffer
			if err := WriteYAML(&b, p); err != nil {
				t.Fatal(err)
			}
			got, err := pieces(b.Bytes())
			if err != nil {
				t.Errorf("%q: %v", s, err)
				continue
			}
			if diff := cmp.Diff(text(t, p), text(t, got)); diff != "" {
				t.Errorf("%d VMs, %q (-want +got):\n%.2000s", n, s, diff)
			}
		}
	}
	for name, in := range map[string]string{
		"none": "schema: 1\n", "unknown field": "schema: 1\nvms:\n- name: a\n  colour: red\n", "other field": "schema: 1\nvms:\n- name: a\ncolour: red\n",
		"twice": "schema: 1\nvms:\n- name: a\nvms:\n- name: b\n", "twice, empty": "schema: 1\nvms:\n- name: a\nschema: 1\n",
		"an alias": "schema: 1\nvms:\n- name: &n a\n- name: *n\n", "a text over the margin": "schema: 1\nvms:\n- name: \"a\n- name: b\"\n",
	} {
		if p, err := pieces([]byte(in)); err == nil {
			t.Errorf("%s: %+v; want an error", name, p)
		}
	}
}

// TestBadAddress: an address that a person mistyped is said in words, not in Go's.
func TestBadAddress(t *testing.T) {
	for _, tt := range []struct{ field, want string }{
		{"prefix: 192.0.2.20", `"192.0.2.20" is no address with its length, as 192.0.2.20/24 is`},
		{"gateway: gw1", `"gw1" is no IP address`},
		{"dns: [ns1]", `"ns1" is no IP address`},
	} {
		_, err := Read([]byte("schema: 1\nvms:\n- addresses:\n  - index: 0\n    " + tt.field + "\n"))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v; want %s", tt.field, err, tt.want)
		}
	}
	for field, want := range map[string]string{"prefix: 192.0.2.20/24": "192.0.2.20/24 has no index", "index: 0\n    colour: red": "colour"} {
		if _, err := Read([]byte("schema: 1\nvms:\n- addresses:\n  - " + field + "\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", field, err, want)
		}
	}
}
