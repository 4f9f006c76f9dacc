package esxi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	fixture "esxodus/fixtures/esxi"
	"esxodus/inventory"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// liar is a host whose SOAP answers a test makes up.
func liar(t *testing.T, answer func(w http.ResponseWriter, method, body string)) Config {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		method := ""
		if _, rest, ok := strings.Cut(string(b), "<Body>"); ok {
			method, _, _ = strings.Cut(strings.TrimPrefix(rest, "<"), " ")
		}
		answer(w, method, string(b))
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return Config{URL: u, Password: "x", Insecure: true, Stall: patience}
}

func envelope(w io.Writer, body string) {
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>%s</soapenv:Body></soapenv:Envelope>`, body)
}

const serviceContent = `<RetrieveServiceContentResponse xmlns="urn:vim25"><returnval><rootFolder type="Folder">ha-folder-root</rootFolder><propertyCollector type="PropertyCollector">pc</propertyCollector>` +
	`<about><name>VMware ESXi</name><fullName>x</fullName><vendor>x</vendor><version>6.5.0</version><build>1</build><osType>x</osType><productLineId>x</productLineId><apiType>HostAgent</apiType><apiVersion>6.5</apiVersion></about>` +
	`<sessionManager type="SessionManager">sm</sessionManager></returnval></RetrieveServiceContentResponse>`

const loginResponse = `<LoginResponse xmlns="urn:vim25"><returnval><key>k</key><userName>root</userName><fullName>root</fullName><loginTime>2026-01-01T00:00:00Z</loginTime><lastActiveTime>2026-01-01T00:00:00Z</lastActiveTime><locale>en</locale><messageLocale>en</messageLocale></returnval></LoginResponse>`

// page is a page of a retrieval: object content and whether more follows.
func page(token, objects string) string {
	if token != "" {
		token = "<token>" + token + "</token>"
	}
	return fmt.Sprintf(`<RetrievePropertiesExResponse xmlns="urn:vim25"><returnval>%s%s</returnval></RetrievePropertiesExResponse>`, token, objects)
}

// hostObject is a host of which only the name is known.
const hostObject = `<objects><obj type="HostSystem">ha-host</obj><propSet><name>name</name><val xsi:type="xsd:string">h</val></propSet></objects>`

// inventoryOf reads the inventory of a host that answers questions about VMs
// with what vms makes of the question.
func inventoryOf(t *testing.T, vms func(question string) string) *inventory.Host {
	t.Helper()
	cfg := liar(t, func(w http.ResponseWriter, method, body string) {
		switch {
		case method == "RetrieveServiceContent":
			envelope(w, serviceContent)
		case method == "Login":
			envelope(w, loginResponse)
		case method != "RetrievePropertiesEx":
			w.WriteHeader(http.StatusNotFound)
		case strings.Contains(body, "VirtualMachine</type>"):
			envelope(w, page("", vms(body)))
		default:
			envelope(w, page("", hostObject))
		}
	})
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	h, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// nameOnly is a VM of which only the name is known, but for more.
func nameOnly(id, name, more string) string {
	return `<objects><obj type="VirtualMachine">` + id + `</obj><propSet><name>name</name><val xsi:type="xsd:string">` + name + `</val></propSet>` + more + `</objects>`
}

func TestLyingHost(t *testing.T) {
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter, method string) bool // false: the usual answer
		want   error
		text   string
	}{
		{name: "honest", text: ""},
		{name: "a web page", answer: func(w http.ResponseWriter, _ string) bool {
			_, err := io.WriteString(w, "<html><body>It works!</body></html>")
			return err == nil
		}, text: "service content"},
		{name: "no SOAP", answer: func(w http.ResponseWriter, _ string) bool { w.WriteHeader(http.StatusNotFound); return true }, text: "404"},
		{name: "not ESXi at all", answer: func(w http.ResponseWriter, m string) bool {
			envelope(w, strings.ReplaceAll(serviceContent, "HostAgent", "VirtualCenter"))
			return m == "RetrieveServiceContent"
		}, want: ErrNotESXi},
		{name: "no session manager", answer: func(w http.ResponseWriter, m string) bool {
			if m != "RetrieveServiceContent" {
				return false
			}
			envelope(w, strings.ReplaceAll(serviceContent, `<sessionManager type="SessionManager">sm</sessionManager>`, ""))
			return true
		}, want: ErrProtocol},
		{name: "no host", answer: func(w http.ResponseWriter, m string) bool {
			if m == "RetrievePropertiesEx" {
				envelope(w, page("", ""))
			}
			return m == "RetrievePropertiesEx"
		}, want: ErrProtocol, text: "no host"},
		{name: "pages without end", answer: func(w http.ResponseWriter, m string) bool {
			switch m {
			case "RetrievePropertiesEx":
				envelope(w, page("more", hostObject))
			case "ContinueRetrievePropertiesEx":
				envelope(w, strings.ReplaceAll(page("more", strings.Repeat(hostObject, 2000)), "RetrievePropertiesExResponse", "ContinueRetrievePropertiesExResponse"))
			}
			return strings.HasSuffix(m, "RetrievePropertiesEx")
		}, want: ErrProtocol, text: "does not end"},
		{name: "empty pages without end", answer: func(w http.ResponseWriter, m string) bool {
			if m == "RetrievePropertiesEx" {
				envelope(w, page("more", ""))
			}
			return m == "RetrievePropertiesEx"
		}, want: ErrProtocol, text: "does not end"},
		{name: "wrong types", answer: func(w http.ResponseWriter, m string) bool {
			if m == "RetrievePropertiesEx" {
				envelope(w, page("", `<objects><obj type="HostSystem">h</obj><propSet><name>config.network.pnic</name><val xsi:type="VirtualDisk"><capacityInKB xsi:type="ArrayOfString">x</capacityInKB></val></propSet></objects>`))
			}
			return m == "RetrievePropertiesEx"
		}, text: "read the host"},
		{name: "stall", answer: func(_ http.ResponseWriter, m string) bool {
			if m == "RetrievePropertiesEx" {
				time.Sleep(3 * time.Second)
			}
			return m == "RetrievePropertiesEx"
		}, want: ErrStalled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := liar(t, func(w http.ResponseWriter, method, _ string) {
				if tt.answer != nil && tt.answer(w, method) {
					return
				}
				switch method {
				case "RetrieveServiceContent":
					envelope(w, serviceContent)
				case "Login":
					envelope(w, loginResponse)
				case "RetrievePropertiesEx":
					envelope(w, page("", hostObject))
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			})
			c, err := Dial(t.Context(), cfg)
			if err == nil {
				if errors.Is(tt.want, ErrStalled) {
					c.cfg.Stall = 300 * time.Millisecond
				}
				c.retry = backoff{tries: 1, first: time.Millisecond, busy: time.Millisecond, most: time.Millisecond, poll: time.Millisecond}
				_, err = c.Inventory(t.Context())
				_ = c.Close(t.Context())
			}
			if (err != nil) != (tt.want != nil || tt.text != "") || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("error = %v; want %v", err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error = %q; want %q in it", err, tt.text)
			}
		})
	}
}

// TestSlowSOAP: one stalled or failed call is made again.
func TestSlowSOAP(t *testing.T) {
	h := startHost(t, fixture.Options{Builtin: true})
	c, err := Dial(t.Context(), hostConfig(t, h))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	c.retry = quick
	c.cfg.Stall = time.Second
	h.Faults().SOAPStall("RetrievePropertiesEx", 0, 1, 1)
	h.Faults().SOAPStatus("RetrievePropertiesEx", http.StatusServiceUnavailable, 3, 1)
	if got, err := c.Inventory(t.Context()); err != nil || len(got.VMs) < 12 {
		t.Errorf("Inventory with a stalled and a refused call = %v", err)
	}
}

// FuzzVM: whatever a host says of a VM, it makes a VM or an error, and no
// panic.
func FuzzVM(f *testing.F) {
	full := &types.VirtualMachineConfigInfo{Hardware: types.VirtualHardware{NumCPU: 1, MemoryMB: 4, Device: []types.BaseVirtualDevice{
		scsiController(1000, 0), diskAt(2000, 1000, 0, 512), new(types.VirtualVmxnet3), new(types.VirtualCdrom), new(types.VirtualSerialPort), new(types.VirtualTPM),
	}}, ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "bios.bootOrder", Value: "hdd"}}}
	var b bytes.Buffer
	content := types.ObjectContent{Obj: types.ManagedObjectReference{Type: "VirtualMachine", Value: "1"}, PropSet: []types.DynamicProperty{
		{Name: "name", Val: "x"}, {Name: "config", Val: *full},
	}}
	if err := xml.NewEncoder(&b).Encode(content); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`<ObjectContent xmlns:XMLSchema-instance="http://www.w3.org/2001/XMLSchema-instance"><obj type="VirtualMachine">1</obj><propSet><name>snapshot</name><val XMLSchema-instance:type="VirtualMachineSnapshotInfo"><rootSnapshotList><name>a</name></rootSnapshotList></val></propSet></ObjectContent>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var content types.ObjectContent
		if decodeObject(b, &content) != nil {
			return
		}
		o := object{ref: content.Obj, props: make(map[string]any)}
		for _, p := range content.PropSet {
			o.props[p.Name] = p.Val
		}
		vm := mapVM(o)
		for _, d := range vm.Disks {
			if d.Capacity < 0 {
				t.Errorf("disk %s has %d bytes", d.Address(), d.Capacity)
			}
		}
		mapNetwork(o)
		datastoreOf(o)
	})
}

// decodeObject decodes as a call does: what panics there is an error.
func decodeObject(b []byte, content *types.ObjectContent) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	d := xml.NewDecoder(bytes.NewReader(b))
	d.TypeFunc = types.TypeFunc()
	return d.Decode(content)
}
