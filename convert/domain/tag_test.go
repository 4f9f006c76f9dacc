package domain

import (
	"strings"
	"testing"

	"esxodus/inventory"
)

func TestTag(t *testing.T) {
	r := must(t, func(*inventory.VM, *Options) {})
	if id, ok := RunID(r.XML); ok {
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
	if id, ok := RunID(second); !ok || id != hostile {
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
		if id, ok := RunID(text); ok {
			t.Errorf("RunID(%q) = %q", text, id)
		}
	}
}
