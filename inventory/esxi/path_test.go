package esxi

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"
)

func testStores() []store {
	return []store{
		{"odd] name", "/vmfs/volumes/5f-2"}, {"odd", "/vmfs/volumes/5f-3"}, {"data [1]", "/vmfs/volumes/5f-4"}, {"a", ""},
	}
}

func TestParsePath(t *testing.T) {
	tests := []struct {
		in, store, file, err string
	}{
		{in: "[odd] web/web.vmdk", store: "odd", file: "web/web.vmdk"},
		{in: "[odd] name] web/web.vmdk", store: "odd] name", file: "web/web.vmdk"},
		{in: "[data [1]] w/w.vmdk", store: "data [1]", file: "w/w.vmdk"},
		{in: "[new] my vm/100% [x] y.vmdk", store: "new", file: "my vm/100% [x] y.vmdk"},
		{in: "[a]x", store: "a", file: "x"},
		{in: "[a] /x//./y", store: "a", file: "x/y"},
		{in: "[a] x/../../etc/passwd", err: "outside"},
		{in: "[a] ..", err: "outside"},
		{in: "[a] x\x00", err: "zero byte"},
		{in: "[a] ", err: "no file"},
		{in: "[] x", err: "not a datastore path"},
		{in: "[a", err: "not a datastore path"},
		{in: "web.vmdk", err: "not a datastore path"},
		{in: "", err: "not a datastore path"},
	}
	stores := []store{testStores()[0], testStores()[2], testStores()[1], testStores()[3]}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			p, err := parsePath(tt.in, stores)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("parsePath = %v, %v; want error %q", p, err, tt.err)
				}
				return
			}
			if err != nil || p.store != tt.store || p.file != tt.file {
				t.Errorf("parsePath = %+v, %v; want %q, %q", p, err, tt.store, tt.file)
			}
		})
	}
}

func TestURL(t *testing.T) {
	tests := []struct {
		path dsPath
		want string
	}{
		{dsPath{"ds1", "web/web-flat.vmdk"}, "https://h/folder/web/web-flat.vmdk?dcPath=ha-datacenter&dsName=ds1"},
		{dsPath{"my ds+1", "a b/100%+ü&?=(1)'\"#.vmdk"}, "https://h/folder/a%20b/100%25%2B%C3%BC%26%3F%3D%281%29%27%22%23.vmdk?dcPath=ha-datacenter&dsName=my%20ds%2B1"},
	}
	for _, tt := range tests {
		if got := tt.path.url("h"); got != tt.want {
			t.Errorf("url = %s; want %s", got, tt.want)
		}
	}
}

// FuzzPath: whatever the path, what the host gets decodes to it again and
// stays below /folder/.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"[ds] a/b.vmdk", "[odd] name] x", "[a] ../x", "[a] %2e%2e/x", "[a] a\nb", "[data [1]] \xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePath(s, testStores())
		if err != nil {
			return
		}
		u, err := url.Parse(p.url("h:443"))
		if err != nil {
			t.Fatalf("parsePath(%q) = %+v: url: %v", s, p, err)
		}
		if u.Path != "/folder/"+p.file || u.Query().Get("dsName") != p.store || u.Host != "h:443" || strings.Contains(u.Path, "/../") {
			t.Errorf("parsePath(%q) = %+v: url %s", s, p, u)
		}
		if again, err := parsePath(p.String(), []store{{p.store, ""}}); err != nil || again != p {
			t.Errorf("parsePath(%q) = %+v, which prints as one that gives %+v, %v", s, p, again, err)
		}
	})
}

func TestOpenerResolve(t *testing.T) {
	o := &Opener{stores: testStores(), dir: dsPath{"odd", "my vm/web.vmdk"}}
	tests := []struct{ in, want string }{
		{"web-flat.vmdk", "[odd] my vm/web-flat.vmdk"},
		{"/vmfs/volumes/5f-4/base/x.vmdk", "[data [1]] base/x.vmdk"},
		{"/vmfs/volumes/odd] name/base/x.vmdk", "[odd] name] base/x.vmdk"},
		{"[data [1]] base/x.vmdk", "[data [1]] base/x.vmdk"},
		{"..", ""},
		{"../other/x.vmdk", ""},
		{"sub/x.vmdk", ""},
		{"/etc/passwd", ""},
		{"/vmfs/volumes/5f-4/../5f-3/x", ""},
		{"/vmfs/volumes/5f-4", ""},
		{"/vmfs/volumes/5f-44/x", ""},
		{"", ""},
		{".", ""},
		{"a\x00b", ""},
	}
	for _, tt := range tests {
		p, err := o.resolve(tt.in)
		if tt.want == "" {
			if !errors.Is(err, ErrOutside) {
				t.Errorf("resolve(%q) = %v, %v; want %v", tt.in, p, err, ErrOutside)
			}
			continue
		}
		if err != nil || p.String() != tt.want {
			t.Errorf("resolve(%q) = %v, %v; want %s", tt.in, p, err, tt.want)
		}
	}
}

func TestOpenerParent(t *testing.T) {
	o := &Opener{stores: testStores(), dir: dsPath{"odd", "my vm/snap/web-000001.vmdk"}}
	for _, tt := range []struct{ in, want string }{
		{"web.vmdk", "[odd] my vm/snap/web.vmdk"},
		{"../base/base.vmdk", "[odd] my vm/base/base.vmdk"},
		{"../../base/base.vmdk", "[odd] base/base.vmdk"},
		{"sub/base.vmdk", "[odd] my vm/snap/sub/base.vmdk"},
		{"[data [1]] base/base.vmdk", "[data [1]] base/base.vmdk"},
		{"/vmfs/volumes/5f-4/base/base.vmdk", "[data [1]] base/base.vmdk"},
		{"../../../base.vmdk", ""},
		{"../..", ""},
		{"..", ""},
		{"", ""},
		{"/etc/passwd", ""},
		{"[data [1]] ../base.vmdk", ""},
		{"/vmfs/volumes/5f-44/x.vmdk", ""},
		{"../a\x00b", ""},
	} {
		p, name, err := o.Parent(tt.in)
		if tt.want == "" {
			if !errors.Is(err, ErrOutside) {
				t.Errorf("Parent(%q) = %v; want %v", tt.in, err, ErrOutside)
			}
			continue
		}
		if err != nil || p.dir.String() != tt.want || path.Base(tt.want) != name {
			t.Errorf("Parent(%q) = %v, %q, %v; want %s", tt.in, p, name, err, tt.want)
			continue
		}
		// Its extents are beside it.
		if f, err := p.resolve("base-flat.vmdk"); err != nil || f.String() != path.Dir(tt.want)+"/base-flat.vmdk" {
			t.Errorf("the extent of %s = %v, %v", tt.want, f, err)
		}
	}
}

func TestUnescapeName(t *testing.T) {
	for in, want := range map[string]string{
		"web": "web", "a%2fb": "a/b", "a%5Cb": `a\b`, "100%25": "100%", "%252f": "%2f", "50%": "50%", "%20": "%20",
	} {
		if got := unescapeName(in); got != want {
			t.Errorf("unescapeName(%q) = %q; want %q", in, got, want)
		}
	}
}
