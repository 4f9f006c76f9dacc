package domain

import (
	"encoding/xml"
	"strings"
	"testing"

	"esxodus/inventory"

	"libvirt.org/go/libvirtxml"
)

func TestTag(t *testing.T) {
	r := must(t, func(*inventory.VM, *Options) {})
	if id, ok := runID(r.XML); ok {
		t.Errorf("RunID of an untagged domain = %q", id)
	}
	first, err := Tag(r.XML, "run 1")
	if err != nil {
		t.Fatal(err)
	}
	const hostile = `2" x="<&>` + "\n"
	second, err := Tag(first, hostile)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := runID(second); !ok || id != hostile {
		t.Errorf("RunID = %q, %v; want %q", id, ok, hostile)
	}
	if n := strings.Count(second, "esxodus:run"); n != 1 {
		t.Errorf("%d marks; want 1:\n%s", n, second)
	}
	if !strings.Contains(second, "source:vm") {
		t.Errorf("other metadata is gone:\n%s", second)
	}
	if _, err := Tag("no XML", "1"); err == nil {
		t.Error("Tag takes what is no XML")
	}
	for _, text := range []string{"", "<domain", "<domain><metadata><x:run xmlns:x='https://other/1' id='1'/></metadata></domain>"} {
		if id, ok := runID(text); ok {
			t.Errorf("runID(%q) = %q", text, id)
		}
	}
}

// runID returns the id that [Tag] left in domain XML; false when there is
// none, or the text is no XML.
func runID(text string) (string, bool) {
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(text); err != nil || dom.Metadata == nil {
		return "", false
	}
	id, found := "", false
	err := eachElement(dom.Metadata.XML, func(e xml.StartElement, _, _ int64) {
		if isRun(e) && !found {
			id, found = attribute(e, "id"), true
		}
	})
	return id, err == nil && found
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}
