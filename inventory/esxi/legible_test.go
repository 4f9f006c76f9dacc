package esxi

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLegible(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"<a>plain &amp; &lt; & \u0092 Zoë 日本 \U0001f600</a>":            "<a>plain &amp; &lt; & \u0092 Zoë 日本 \U0001f600</a>",
		"a\x00b\x1bc\x0bd\te\nf\r":                                      "a\ufffdb\ufffdc\ufffdd\te\nf\r",
		"a\ufffeb\uffffc":                                               "a\ufffdb\ufffdc",
		"a\xffb\xed\xa0\x80":                                            "a\ufffdb\ufffd\ufffd\ufffd",
		"&#27;&#x1B;&#xfffe;&#xD800;&#65;&#x10FFFF;&#0;&#x99999999;&#1": "\ufffd\ufffd\ufffd\ufffd&#65;&#x10FFFF;\ufffd\ufffd&#1",
		"&#;&#x;&#xg;&&#11;&":                                           "&#;&#x;&#xg;&\ufffd&",
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
			got, err := io.ReadAll(legible(io.NopCloser(r)))
			if err != nil || string(got) != want {
				t.Errorf("legible(%q) = %q, %v; want %q", in, got, err, want)
			}
		}
	}
}

// TestIllegalCharacters: a note that XML can't hold is one VM's, and no end of
// the inventory.
func TestIllegalCharacters(t *testing.T) {
	t.Parallel()
	const host = `<objects><obj type="HostSystem">ha-host</obj><propSet><name>name</name><val xsi:type="xsd:string">h</val></propSet></objects>`
	vm := func(id, name string) string {
		return `<objects><obj type="VirtualMachine">` + id + `</obj><propSet><name>name</name><val xsi:type="xsd:string">` + name + `</val></propSet></objects>`
	}
	cfg := liar(t, func(w http.ResponseWriter, method, body string) {
		switch {
		case method == "RetrieveServiceContent":
			envelope(w, serviceContent)
		case method == "Login":
			envelope(w, loginResponse)
		case method == "RetrievePropertiesEx" && strings.Contains(body, "VirtualMachine</type>"):
			envelope(w, page("", vm("1", "a\x0bb&#27;\xff")+vm("2", "well")))
		case method == "RetrievePropertiesEx":
			envelope(w, page("", host))
		default:
			w.WriteHeader(http.StatusNotFound)
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
	if len(h.VMs) != 2 || h.VMs[0].Name != "a\ufffdb\ufffd\ufffd" || h.VMs[1].Name != "well" {
		t.Errorf("VMs %+v", h.VMs)
	}
}
