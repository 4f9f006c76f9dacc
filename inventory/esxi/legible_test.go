package esxi

import (
	"io"
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
	h := inventoryOf(t, func(string) string { return nameOnly("1", "a\x0bb&#27;\xff", "") + nameOnly("2", "well", "") })
	if len(h.VMs) != 2 || h.VMs[0].Name != "a\ufffdb\ufffd\ufffd" || h.VMs[1].Name != "well" {
		t.Errorf("VMs %+v", h.VMs)
	}
}
