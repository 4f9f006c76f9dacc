package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"esxodus/convert/ledger"
	"esxodus/convert/plan"
)

// night is when the plans of the tests were made.
func night() time.Time { return time.Date(2026, 11, 30, 22, 15, 0, 0, time.UTC) }

// roomy is the plan of several VMs with what a plan that isn't read from a file has.
func roomy() *plan.Plan {
	p := several()
	p.Room = &plan.Room{Free: 100 * gib, Written: 20 * gib, Most: 120 * gib, Pool: "vg0/thin", PoolSize: 150 * gib, Promised: 240 * gib}
	for i := range p.Network.Attachments {
		p.Network.Attachments[i].VSwitch = "vSwitch0"
	}
	for i := range p.VMs {
		for _, property := range []string{"tools.upgradePolicy", "tools.syncTime", "mks.enable3d"} {
			p.VMs[i].Ledger = append(p.VMs[i].Ledger, ledger.Entry{Property: property, Source: "as on " + p.VMs[i].Name, Fate: ledger.Dropped, Reason: "VMware's own"})
		}
	}
	p.Concerns = append(p.Concerns, ledger.Concern{ID: "network.mode", Severity: ledger.Note, Evidence: "macvtap's mode vepa was asked for", Advice: "leave it out"})
	return p
}

func rendered(t *testing.T, v View) string {
	t.Helper()
	var out bytes.Buffer
	if err := HTML(&out, Form{Complete: flagged}, v); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// parsed is a page as a browser's parser sees it.
func parsed(t *testing.T, page string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// elements are those of a page that a test is true for.
func elements(root *html.Node, is func(*html.Node) bool) []*html.Node {
	var out []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			out = append(out, n)
		}
	}
	return out
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text is what an element says, each run of blanks as one.
func text(n *html.Node) string {
	var all strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			all.WriteString(d.Data + " ")
		}
	}
	return flat(all.String())
}

func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// TestHTML holds the HTML of a small plan.
func TestHTML(t *testing.T) {
	t.Parallel()
	golden(t, "plan.html", rendered(t, ViewOf(roomy(), Ask{Full: true, Next: true, Now: night()})))
}

// spoiled fills every text of a value with one that would do harm.
func spoiled(v reflect.Value, with string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(with)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			spoiled(v.Index(i), with)
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		spoiled(v.Elem(), with)
	case reflect.Struct:
		for _, f := range v.Fields() {
			if f.CanSet() {
				spoiled(f, with)
			}
		}
	default:
	}
}

// TestHTMLHostile: whatever the texts of a view are, all that they become is text.
func TestHTMLHostile(t *testing.T) {
	t.Parallel()
	const harm = `"'><img src=https://evil.example/ onerror=boom()></script><script>boom()</script></style></title></svg>-->%22&#x3c;{{.}}` + "`" + evil + "\n\x00\xff"
	v := ViewOf(roomy(), Ask{Full: true, Next: true, Now: night()})
	spoiled(reflect.ValueOf(&v).Elem(), harm)
	page := rendered(t, v)
	if c := regexp.MustCompile(`[^\P{C}\n]`).FindString(page); c != "" {
		t.Errorf("a control character, %q, is in the page", c)
	}
	root := parsed(t, page)
	for _, name := range []string{"script", "style", "title"} {
		if all := elements(root, func(n *html.Node) bool { return n.Data == name && n.Namespace == "" }); len(all) != 1 {
			t.Errorf("the page has %d elements %s, want 1", len(all), name)
		}
	}
	if n := strings.Count(text(root), `onerror=boom()></script><script>boom()`); n < 60 {
		t.Errorf("the text is seen %d times, want it seen at every place", n)
	}
	if !strings.Contains(text(root), `\u001b[2J\u202e\u009b1m\u000d\n\u0000\xff`) {
		t.Error("control characters aren't shown")
	}
	harmless(t, root)
}

// harmless holds that a page has none of what loads, runs or leads anywhere.
func harmless(t *testing.T, root *html.Node) {
	t.Helper()
	known := strings.Fields("html head meta title style body a header h1 p bdi time nav ul li main section h2 dl div span dt dd code b details summary form label input fieldset legend " +
		"button table thead tbody tr th td svg rect text path g h3 article h4 pre ol footer script")
	for _, n := range elements(root, func(*html.Node) bool { return true }) {
		if !slices.Contains(known, n.Data) {
			t.Errorf("the page has an element %s", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || slices.Contains([]string{"src", "srcset", "style", "action", "formaction", "data", "xlink:href"}, a.Key) || a.Key == "href" && !strings.HasPrefix(a.Val, "#") {
				t.Errorf("%s has %s=%q", n.Data, a.Key, a.Val)
			}
		}
	}
}

// TestHTMLLoadsNothing: neither style nor script can load anything, and the policy is
// of exactly these two.
func TestHTMLLoadsNothing(t *testing.T) {
	t.Parallel()
	root := parsed(t, rendered(t, ViewOf(roomy(), Ask{Full: true, Next: true})))
	harmless(t, root)
	var policy string
	for _, n := range elements(root, func(n *html.Node) bool { return attribute(n, "http-equiv") == "Content-Security-Policy" }) {
		policy = attribute(n, "content")
	}
	if !strings.HasPrefix(policy, "default-src 'none'; ") {
		t.Errorf("the policy is %q", policy)
	}
	for _, name := range []string{"style", "script"} {
		n := elements(root, func(n *html.Node) bool { return n.Data == name })[0]
		if want := fmt.Sprintf("; %s-src '%s'", name, hashSource([]byte(n.FirstChild.Data))); !strings.Contains(policy, want) {
			t.Errorf("the policy %q has no %q", policy, want)
		}
		if loads := regexp.MustCompile(`(?i)url\(|@import|://|fetch|XMLHttpRequest|import\(`).FindString(n.FirstChild.Data); loads != "" {
			t.Errorf("the %s has %q", name, loads)
		}
	}
}

// says fails unless a text has all of the others.
func says(t *testing.T, what, all string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(all, flat(strings.ReplaceAll(want, "`", " "))) {
			t.Errorf("%s doesn't say %q", what, want)
		}
	}
}

// TestHTMLSaysAll: nothing of a view is missing.
func TestHTMLSaysAll(t *testing.T) {
	t.Parallel()
	for _, full := range []bool{true, false} {
		p := roomy()
		for i := range p.VMs { // more of a kind than are shown at first
			for _, nic := range []string{"ethernet0", "ethernet1"} {
				p.VMs[i].Concerns = append(p.VMs[i].Concerns, ledger.Concern{ID: "nic.name", Severity: ledger.Warning, Subject: nic, Evidence: "it is called ens192", Advice: "keep the name of " + nic + " in " + p.VMs[i].Name})
			}
		}
		v := ViewOf(p, Ask{Full: full, Next: true, Now: night()})
		root := parsed(t, rendered(t, v))
		v = cleaned(v)
		all := text(root)
		says(t, "the page", all, v.From, v.To, "2026-11-30 22:15 UTC", "80 GiB", "20 GiB too little", v.Storage, "The thin pool has 150 GiB", "its volumes have 240 GiB")
		for _, f := range v.Findings {
			says(t, "the page", all, slices.Concat(f.Evidence, []string{f.ID, flagged(f.Advice)})...)
		}
		for _, c := range v.Concerns {
			says(t, "the page", all, c.ID, c.Evidence, c.Advice)
		}
		for _, u := range slices.Concat(v.Units, v.Optional) {
			says(t, "the page", all, append(u.Lines, u.Name)...)
		}
		for _, f := range v.Ledger {
			says(t, "the page", all, append(f.Texts, f.Reason)...)
		}
		for _, c := range v.Next {
			says(t, "the page", all, strings.Split(flagged(c.Line), "`, then `")...)
		}
		for i := range v.VMs {
			saysOf(t, root, i, &v.VMs[i])
		}
	}
}

// saysOf holds that all of a VM is in its part of the page.
func saysOf(t *testing.T, root *html.Node, i int, vm *VMView) {
	t.Helper()
	parts := elements(root, func(n *html.Node) bool { return attribute(n, "id") == fmt.Sprintf("vm-%d", i) })
	if len(parts) != 1 {
		t.Fatalf("VM %d has %d parts of the page, want 1", i, len(parts))
	}
	all := text(parts[0])
	says(t, vm.Name, all, vm.Name, vm.ID, vm.Domain, string(vm.State), vm.Guest, vm.Network, vm.Hardware, vm.Via)
	says(t, vm.Name, all, slices.Concat(vm.Parts, vm.GuestNotes, vm.Moves, vm.LayoutNotes, vm.NICs, vm.Used, vm.Steps)...)
	for _, d := range vm.Disks {
		says(t, vm.Name, all, d.From, d.To, d.Layout)
	}
	for _, f := range vm.Ledger {
		says(t, vm.Name, all, slices.Concat(f.Texts, []string{string(f.Fate), f.Reason})...)
	}
	for _, c := range vm.Concerns {
		says(t, vm.Name, all, c.ID, c.Subject, c.Evidence, flagged(c.Advice), strings.ToUpper(string(c.Severity)))
	}
	if vm.Hidden > 0 {
		says(t, vm.Name, all, fmt.Sprintf("ESXi's own: %d", vm.Hidden))
	}
	c := vm.Conversion
	if c == nil {
		return
	}
	says(t, vm.Name, all, slices.Concat(c.Install, c.Remove, c.Bring, c.Initrds, c.Run)...)
	for _, e := range c.Edits {
		says(t, vm.Name, all, append(e.Diff, e.Head)...)
	}
	for _, touch := range c.Touches {
		says(t, vm.Name, all, append(touch.Texts, touch.Reason)...)
	}
}

// TestHTMLShows names what must be in the golden file, whatever it is updated to.
func TestHTMLShows(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("testdata", "plan.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<html lang="en">`, `<a class="skip" href="#main">`, `<main id="main"`, `<label for="search">`,
		`<span class="del">-/dev/sda2 / ext4 errors=remount-ro 0 1`, `<span class="add">&#43;/dev/mapper/web--vg-root / ext4`, `<span class="at">@@ `,
		`<th scope="row"><a href="#vm-3"><bdi>old 2</bdi></a></th>`, `<pre tabindex="0">esxodus plan --esxi x -o plan.yaml</pre>`,
		`データベース \u001b[2J\u202e`, `<dt><span class="mark" aria-hidden="true"></span>blocked</dt><dd>2</dd>`,
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

// TestHTMLHeadings: none of a level is left out, as who hears a page goes by them.
func TestHTMLHeadings(t *testing.T) {
	t.Parallel()
	level := 0
	root := parsed(t, rendered(t, ViewOf(roomy(), Ask{Full: true, Next: true})))
	for i, n := range elements(root, func(n *html.Node) bool { return regexp.MustCompile(`^h[1-6]$`).MatchString(n.Data) }) {
		next := int(n.Data[1] - '0')
		if next > level+1 || (next == 1) != (i == 0) {
			t.Errorf("the heading %q of level %d comes after one of level %d", text(n), next, level)
		}
		level = next
	}
}

// many is a plan of n VMs, each with as much to say as a real one.
func many(n int) *plan.Plan {
	p := roomy()
	one := p.VMs[0]
	for i := range 120 {
		one.Ledger = append(one.Ledger,
			ledger.Entry{Property: fmt.Sprintf("extra[sched.mem.number%d]", i), Source: "TRUE", Fate: ledger.Mapped},
			ledger.Entry{Property: fmt.Sprintf("disks[scsi0:%d].files[[datastore1] web/web.vmdk].size", i), Source: "10737418240", Fate: ledger.Dropped, Reason: "a file on the datastore"})
	}
	for i := range 6 {
		one.Concerns = append(one.Concerns, ledger.Concern{ID: fmt.Sprintf("guest.kind%d", i), Severity: ledger.Warning, Evidence: strings.Repeat("what was seen ", 8), Advice: strings.Repeat("what to do ", 8)})
	}
	p.VMs = nil
	for i := range n {
		vm := one
		vm.Name = fmt.Sprintf("web-%d", i)
		vm.Source.Name, vm.Source.ID = vm.Name, fmt.Sprint(i)
		vm.Concerns = append(slices.Clip(one.Concerns), ledger.Concern{ID: "nic.name", Severity: ledger.Warning, Evidence: "the guest calls it ens192", Advice: fmt.Sprintf("keep the name of %s in its guest", vm.Name)})
		p.VMs = append(p.VMs, vm)
	}
	return p
}

// counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

var _ io.Writer = (*counter)(nil)

// cost is how many bytes a page of n VMs has, and how many are allocated to write it.
func cost(t *testing.T, n int, full bool) (size, allocated int64) {
	t.Helper()
	p := many(n)
	var before, then runtime.MemStats
	runtime.ReadMemStats(&before)
	var c counter
	if err := HTML(&c, Form{Complete: flagged}, ViewOf(p, Ask{Full: full, Next: true})); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&then)
	return c.n, int64(then.TotalAlloc - before.TotalAlloc)
}

// TestHTMLOfManyVMs: a browser opens the page of 1,000 VMs, and what it takes to write
// it grows as their number does. It doesn't run beside others, as it counts what is
// allocated.
func TestHTMLOfManyVMs(t *testing.T) {
	const most = 20 * mib
	half, halfAllocated := cost(t, 500, false)
	size, allocated := cost(t, 1000, false)
	t.Logf("1000 VMs: %d bytes, %d allocated", size, allocated)
	if size > most {
		t.Errorf("the page of 1000 VMs has %d bytes, want at most %d", size, most)
	}
	if size > half*21/10 || allocated > halfAllocated*22/10 {
		t.Errorf("500 VMs take %d bytes and allocate %d, 1000 take %d and %d: want about twice that", half, halfAllocated, size, allocated)
	}
	if size, _ := cost(t, MostFull, true); size > most {
		t.Errorf("the full page of %d VMs has %d bytes, want at most %d", MostFull, size, most)
	}
}
