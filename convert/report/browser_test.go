package report

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"esxodus/fixtures"
	"esxodus/inventory"
	"esxodus/network"
)

// harmful is what a name would be that does something to a page.
const harmful = `"><img src="https://evil.example/" onerror="boom()"><script>boom()</script>`

// shown is the file of a page.
func shown(t *testing.T, page string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "my plan.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(file, " ", "%20")
}

// whole is a view of several VMs with a network of all kinds. The names of one VM and
// of a port group end so.
func whole(end string) View {
	p := roomy()
	p.VMs[1].Source.Name = "データベース " + end
	p.VMs[1].Source.NICs = append(p.VMs[1].Source.NICs,
		inventory.NIC{Index: 2, MAC: "00:0c:29:00:00:03", PortGroup: "Storage " + end}, inventory.NIC{Index: 3, MAC: "00:0c:29:00:00:04", PortGroup: "iSCSI"},
		inventory.NIC{Index: 4, MAC: "00:0c:29:00:00:05", PortGroup: "DMZ"}, inventory.NIC{Index: 5, MAC: "00:0c:29:00:00:06", PortGroup: "lab"})
	p.Network.Attachments = append(p.Network.Attachments,
		network.Attachment{PortGroup: "iSCSI", VSwitch: "vSwitch1", Mode: network.SRIOV, Device: "eno2", Uplink: "eno2", VLAN: 7, MTU: 9000, Network: "esxodus-vf-eno2"},
		network.Attachment{PortGroup: "DMZ", VSwitch: "vSwitch0", Mode: network.Bridge, Device: "br0"},
		network.Attachment{PortGroup: "lab", VSwitch: "inside", Mode: network.None})
	return ViewOf(p, Ask{Full: true, Next: true, Now: night()})
}

// TestInBrowser opens a report in a browser as a person does.
func TestInBrowser(t *testing.T) {
	fixtures.Rung(t, "report")
	b := browse(t)
	file := shown(t, rendered(t, whole(harmful)))
	for name, test := range map[string]func(*tab){
		"loads nothing else": loadsAlone, "other scripts": noOtherScript, "filters": filters, "keyboard": keyboard, "accessible": accessible, "laid out": laidOut,
		"without script": withoutScript, "printed": printed,
	} {
		t.Run(name, func(t *testing.T) { test(b.open(t, file, name != "without script")) })
	}
	t.Run("pictures", func(t *testing.T) { pictures(b.open(t, shown(t, rendered(t, whole(""))), true), "") })
	t.Run("1000 VMs", func(t *testing.T) {
		opensMany(b.open(t, shown(t, rendered(t, ViewOf(many(1000), Ask{Next: true}))), true))
	})
	outcomeInBrowser(t, b)
}

// outcomeInBrowser opens the report after a run.
func outcomeInBrowser(t *testing.T, b *chromium) {
	t.Helper()
	file := shown(t, outcomePage(t, OutcomeOf(afterwards(harmful), night())))
	for name, test := range map[string]func(*tab){
		"loads nothing else": loadsAlone, "other scripts": noOtherScript, "accessible": accessible, "laid out": laidOut, "printed": printed,
		"filters": outcomeFilters,
	} {
		t.Run("after/"+name, func(t *testing.T) { test(b.open(t, file, true)) })
	}
	t.Run("after/pictures", func(t *testing.T) {
		pictures(b.open(t, shown(t, outcomePage(t, OutcomeOf(afterwards(""), night()))), true), "after-")
	})
	t.Run("after/1000 VMs", func(t *testing.T) {
		opensMany(b.open(t, shown(t, outcomePage(t, OutcomeOf(manyOutcomes(1000), night()))), true))
	})
}

// outcomeFilters: VMs are found by any word of theirs, and hidden by how they stand.
func outcomeFilters(p *tab) {
	p.want("at first", 4, "4 of 4 VMs shown")
	eval[bool](p, `document.querySelector('input[value="committed"]').click() || true`)
	p.want("without the committed ones", 3, "3 of 4 VMs shown")
	eval[bool](p, `(search => { search.value = ""; search.focus(); return true })(document.getElementById("search"))`)
	p.do("Input.insertText", map[string]any{"text": "xml edited"}, nil)
	p.want("searched for what differs", 1, "1 of 4 VMs shown")
}

// loadsAlone: the page is the only thing that is asked for, and nobody complains.
func loadsAlone(p *tab) {
	if n := eval[int](p, `document.querySelectorAll("article.vm").length`); n != 4 {
		p.t.Errorf("the page has %d VMs, want 4", n)
	}
	requests := 0
	for _, m := range p.b.seen[p.opened:] {
		switch {
		case m.Session != p.session:
		case m.Method == "Network.requestWillBeSent":
			requests++
			if !strings.Contains(string(m.Params), p.file) {
				p.t.Errorf("the page asks for %s", m.Params)
			}
		case m.Method == "Log.entryAdded" || m.Method == "Runtime.consoleAPICalled" || m.Method == "Runtime.exceptionThrown":
			p.t.Errorf("the browser says %s", m.Params)
		}
	}
	if requests != 1 {
		p.t.Errorf("%d requests, want the page's own", requests)
	}
}

// noOtherScript: what gets into the page all the same isn't run, and loads nothing.
func noOtherScript(p *tab) {
	before := len(p.b.seen)
	eval[bool](p, `(() => {
		const script = document.createElement("script");
		script.textContent = "window.ran = 'a script'";
		document.body.append(script);
		document.body.insertAdjacentHTML("beforeend", "<p id=evil onclick=\"window.ran = 'a handler'\" style='color: red'>x</p><img src='https://evil.example/x'>");
		document.getElementById("evil").click();
		return true;
	})()`)
	if ran := eval[string](p, `window.ran || ""`); ran != "" {
		p.t.Errorf("%s was run", ran)
	}
	refused := 0
	for _, m := range p.b.seen[before:] {
		if m.Method == "Log.entryAdded" && strings.Contains(string(m.Params), "Content Security Policy") {
			refused++
		}
	}
	if refused < 4 {
		p.t.Errorf("the policy refused %d times, want it for the script, the handler, the style and the image", refused)
	}
}

// visible is how many elements of a kind are seen.
func visible(p *tab, selector string) int {
	p.t.Helper()
	return eval[int](p, fmt.Sprintf(`Array.from(document.querySelectorAll(%q)).filter(e => e.checkVisibility()).length`, selector))
}

// want compares what is seen with what should be.
func (p *tab) want(when string, vms int, status string) {
	p.t.Helper()
	rows, stories := visible(p, "tr[data-vm]"), visible(p, "article.vm")
	if text := eval[string](p, `document.getElementById("shown").textContent`); rows != vms || stories != vms || text != status {
		p.t.Errorf("%s: %d rows and %d stories are seen, and %q; want %d and %q", when, rows, stories, text, vms, status)
	}
}

// filters: the search finds words in any part of a VM's story, and the boxes hide what
// isn't wanted.
func filters(p *tab) {
	p.want("at first", 4, "4 of 4 VMs shown")
	search := func(text string) {
		eval[bool](p, `(search => { search.value = ""; search.focus(); return true })(document.getElementById("search"))`)
		p.do("Input.insertText", map[string]any{"text": text}, nil)
	}
	click := func(value string) {
		eval[bool](p, fmt.Sprintf(`document.querySelector('input[value=%q]').click() || true`, value))
	}
	search("OLD  rdm")
	p.want("searched for two words", 2, "2 of 4 VMs shown")
	search("/etc/lilo.conf")
	p.want("searched for a file", 1, "1 of 4 VMs shown")
	search("onerror=")
	p.want("searched for a name", 1, "1 of 4 VMs shown")
	search("no such thing")
	p.want("searched in vain", 0, "0 of 4 VMs shown")
	search(" ")
	click("blocked")
	p.want("without the blocked ones", 2, "2 of 4 VMs shown")
	click("blocked")
	for value, class := range map[string]string{"note": ".concern.note", "warning": ".concern.warning", "blocker": ".concern.blocker"} {
		if visible(p, class) == 0 {
			p.t.Errorf("no %s is seen", class)
		}
		click(value)
		if n := visible(p, class); n > 0 {
			p.t.Errorf("%d of %s are seen, want none", n, class)
		}
	}
	p.want("without concerns", 4, "4 of 4 VMs shown")
	eval[bool](p, `document.getElementById("open").click() || true`)
	if n := eval[int](p, `document.querySelectorAll("details:not([open])").length`); n > 0 {
		p.t.Errorf("%d parts are closed, want all open", n)
	}
}

// laidOut: code and files stand in a monospaced font, and take the room that they need.
func laidOut(p *tab) {
	p.look(1280, false)
	p.drawAll()
	eval[bool](p, `document.querySelectorAll("details").forEach(d => { d.open = true }) || true`)
	if n := eval[int](p, `Array.from(document.querySelectorAll("code, pre")).filter(e => !getComputedStyle(e).fontFamily.includes("monospace")).length`); n > 0 {
		p.t.Errorf("%d of what is code isn't monospaced", n)
	}
	if n := eval[int](p, `Array.from(document.querySelectorAll("pre")).filter(e => e.scrollHeight > e.clientHeight + 1).length`); n > 0 {
		p.t.Errorf("%d files are higher than their boxes", n)
	}
}

// keyboard: all can be done without a mouse, and the focus is seen.
func keyboard(p *tab) {
	p.look(1280, false)
	p.do("Page.bringToFront", nil, nil)
	p.tabTo(`at.className === "skip" && at.getBoundingClientRect().left >= 0`)
	p.press("Enter")
	if at := eval[string](p, `document.activeElement.id`); at != "main" {
		p.t.Errorf("the skip link leads to %q, want main", at)
	}
	p.tabTo(`at.id === "search"`)
	if outline := eval[string](p, `getComputedStyle(document.activeElement).outlineStyle`); outline != "solid" {
		p.t.Errorf("the focus isn't seen: the outline is %q", outline)
	}
	p.tabTo(`at.value === "blocked"`)
	p.press(" ")
	p.want("a box unchecked by the space bar", 2, "2 of 4 VMs shown")
	p.tabTo(`at.tagName === "A" && at.hash === "#vm-0"`)
	p.press("Enter")
	p.tabTo(`at.tagName === "SUMMARY" && at.closest("article.vm") !== null`)
	p.press("Enter")
	if !eval[bool](p, `document.activeElement.parentElement.open`) {
		p.t.Error("the Enter key doesn't open a part")
	}
}

// drawAll has the browser draw also what isn't on the screen, which it else leaves for
// later.
func (p *tab) drawAll() {
	p.t.Helper()
	eval[bool](p, `document.querySelectorAll("article.vm").forEach(a => { a.style.contentVisibility = "visible" }) || true`)
}

// accessible: axe finds nothing, in light and dark, on a phone and a desk.
func accessible(p *tab) {
	axe, err := os.ReadFile(os.Getenv("ESXODUS_AXE"))
	if err != nil {
		fixtures.Missing(p.t, "axe-core (ESXODUS_AXE, which scripts/test-report.sh sets)")
	}
	p.drawAll()
	eval[bool](p, string(axe)+"; true")
	for _, width := range []int{390, 1280} {
		for _, dark := range []bool{false, true} {
			for _, open := range []bool{false, true} {
				p.look(width, dark)
				eval[bool](p, fmt.Sprintf(`document.querySelectorAll("details").forEach(d => { d.open = %v }) || true`, open))
				found := eval[string](p, `axe.run(document).then(r => (r.passes.length > 20 ? "" : "axe tried too little; ") +
					r.violations.concat(r.incomplete.filter(i => i.id !== "color-contrast")).map(v => v.id + ": " + v.help + ": " + v.nodes.slice(0, 4).map(n => n.html + " " + n.failureSummary).join("; ")).join("\n"))`)
				if found != "" {
					p.t.Errorf("%d pixels, dark %v, parts open %v: %s", width, dark, open, found)
				}
				if wide := eval[int](p, `document.documentElement.scrollWidth`); wide > width {
					p.t.Errorf("the page is %d pixels wide, want at most %d", wide, width)
				}
			}
		}
	}
}

// withoutScript: all is there, but for what needs the script.
func withoutScript(p *tab) {
	var root struct {
		Root struct {
			ID int `json:"nodeId"`
		} `json:"root"`
	}
	p.do("DOM.getDocument", nil, &root)
	high := func(selector string) bool {
		var node struct {
			ID int `json:"nodeId"`
		}
		p.do("DOM.querySelector", map[string]any{"nodeId": root.Root.ID, "selector": selector}, &node)
		_, err := p.b.call(p.session, "DOM.getBoxModel", map[string]any{"nodeId": node.ID})
		return err == nil // what isn't laid out has none
	}
	for selector, want := range map[string]bool{"#filter": false, "#vm-3 h3": true, "tr[data-vm='3']": true, "#vm-3 summary": true, "svg.map": true} {
		if got := high(selector); got != want {
			p.t.Errorf("%s is seen: %v, want %v", selector, got, want)
		}
	}
}

// printed: on paper all parts are open, also without the script that opens them, and
// the page isn't dark.
func printed(p *tab) {
	p.do("Emulation.setEmulatedMedia", map[string]any{"media": "print", "features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	if all, seen := eval[int](p, `document.querySelectorAll("article.vm details > :not(summary)").length`), visible(p, "article.vm details > :not(summary)"); all == 0 || all != seen {
		p.t.Errorf("%d of %d parts are on the paper", seen, all)
	}
	if visible(p, "nav, form") > 0 {
		p.t.Error("what is only for screens is printed")
	}
	if ground := eval[string](p, `getComputedStyle(document.body).backgroundColor`); ground != "rgb(255, 255, 255)" {
		p.t.Errorf("the paper is %s", ground)
	}
	var pdf struct {
		Data string `json:"data"`
	}
	p.do("Page.printToPDF", map[string]any{"printBackground": true, "paperWidth": 8.27, "paperHeight": 11.69}, &pdf)
	save(p.t, "printed.pdf", pdf.Data)
	if open := eval[int](p, `document.querySelectorAll("details[open]").length`); open != 0 {
		p.t.Errorf("%d parts stay open after printing", open)
	}
}

// save keeps a picture for a person, where the script says so.
func save(t *testing.T, name, data string) {
	t.Helper()
	content, err := base64.StdEncoding.DecodeString(data)
	if err != nil || len(content) < 1000 {
		t.Fatalf("%s: %d bytes, %v", name, len(content), err)
	}
	if dir := os.Getenv("ESXODUS_PICTURES"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// pictures are for a person to look at.
func pictures(p *tab, of string) {
	p.drawAll()
	for _, width := range []int{390, 1280} {
		for scheme, dark := range map[string]bool{"light": false, "dark": true} {
			p.look(width, dark)
			for _, part := range []string{"whole", "story"} {
				params := map[string]any{"captureBeyondViewport": true}
				eval[bool](p, fmt.Sprintf(`document.querySelectorAll("#vm-0 details").forEach(d => { d.open = %v }) || true`, part == "story"))
				if part == "story" {
					var clip map[string]any
					if err := json.Unmarshal([]byte(eval[string](p, `(r => JSON.stringify({x: 0, y: r.y + scrollY, width: innerWidth, height: Math.min(r.height, 6000), scale: 1}))(document.getElementById("vm-0").getBoundingClientRect())`)), &clip); err != nil {
						p.t.Fatal(err)
					}
					params["clip"] = clip
				}
				var picture struct {
					Data string `json:"data"`
				}
				p.do("Page.captureScreenshot", params, &picture)
				save(p.t, fmt.Sprintf("%s%s-%d-%s.png", of, part, width, scheme), picture.Data)
			}
		}
	}
}

// opensMany: a browser opens and searches the page of 1,000 VMs.
func opensMany(p *tab) {
	if n := eval[int](p, `document.querySelectorAll("article.vm").length`); n != 1000 {
		p.t.Errorf("the page has %d VMs, want 1000", n)
	}
	took := eval[float64](p, `performance.getEntriesByType("navigation")[0].loadEventEnd`)
	searched := eval[float64](p, `(search => {
		const began = performance.now();
		search.value = "web-777";
		search.dispatchEvent(new Event("input", {bubbles: true}));
		return performance.now() - began;
	})(document.getElementById("search"))`)
	p.want("searched for one", 1, "1 of 1000 VMs shown")
	p.t.Logf("1000 VMs: loaded in %.0f ms, searched in %.0f ms", took, searched)
}
