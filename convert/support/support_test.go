package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"esxodus/convert/runs"
)

// tool is a host whose programs print secrets, and of which one hangs.
type tool struct {
	t     *testing.T
	lines int // of networkctl
}

func (f tool) Run(ctx context.Context, argv ...string) ([]byte, error) {
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > patience {
		f.t.Errorf("%v may hang", argv)
	}
	switch argv[0] {
	case "virsh":
		return []byte("<graphics type='vnc' passwd='swordfish'/>\n"), nil
	case "pvs":
		return nil, errors.New("pvs: no answer from https://root:swordfish@h")
	case "networkctl":
		return bytes.Repeat([]byte("secret=swordfish\n"), f.lines), nil
	}
	return []byte("known swordfish\n"), nil
}

// unpack returns the members of an archive.
func unpack(t *testing.T, b []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(h.Name, "esxodus-support/")
		if !ok || h.Mode != 0o600 {
			t.Errorf("member %q with mode %o", h.Name, h.Mode)
		}
		out[name] = string(text)
	}
}

// write fills a file of a state directory.
func write(t *testing.T, dir, name string, text []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWrite: no secret is in the archive, wherever it stood; a damaged record takes no
// other with it; what is too long is cut between lines; what isn't there is said.
func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "vms/web/journal", []byte(`{"a":"first","xml":"\u003cgraphics passwd='swordfish'\u003e"}
{"a":"torn https://root:swordf
{"a":"last","password":"swordfish"}
`))
	write(t, dir, "vms/web/cutover/journal", []byte(`{"error":"https://root:swordfish@h"}`+"\n"))
	// The cut falls into lines that hold a name and a secret.
	console := strings.Repeat("password="+strings.Repeat(" swordfish", 100)+"\n", maxMember/900)
	write(t, dir, "vms/web/console.log", []byte("begin\n"+console+"end\n"))
	write(t, dir, "network/run/journal", []byte(`{"token":"swordfish","b":1}`+"\n"))
	var out bytes.Buffer
	c := &Case{
		Version: "1.2", State: runs.StateDir(dir), Names: []string{"web"}, Network: true, Tool: tool{t, maxMember / 16}, Secrets: []string{"swordfish of a kind", "known swordfish"},
		Doctor: func(context.Context) (any, error) { return map[string]string{"what": "http://u:swordfish@proxy"}, nil },
	}
	members, err := c.Write(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	got := unpack(t, out.Bytes())
	for name, text := range got {
		if i := strings.Index(text, "swordf"); i >= 0 {
			t.Errorf("%s has a secret: …%s", name, text[max(0, i-80):min(len(text), i+20)])
		}
		if len(text) > maxMember+200 {
			t.Errorf("%s has %d bytes", name, len(text))
		}
	}
	if len(got) != len(members) {
		t.Errorf("%d members, %d are told of", len(got), len(members))
	}
	for name, want := range map[string]string{
		"README":                   "esxodus 1.2",
		"versions/programs":        "$ lvm version\n***",
		"lvm/pvs.json":             "pvs: no answer from https://root:***@h",
		"network/networkctl":       "bytes are left out here",
		"vms/web/state.json":       "nothing was touched",
		"vms/web/domain.xml":       "passwd='***'",
		"vms/web/cutover/journal":  "https://root:***@h",
		"vms/web/console.log":      "bytes are left out here",
		"network/runs/run/journal": `{"b":1,"token":"***"}`,
		"doctor.json":              "http://u:***@proxy",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s has no %q: %.300s", name, want, got[name])
		}
	}
	if j := got["vms/web/journal"]; strings.Count(j, "\n") != 3 || !strings.Contains(j, "first") || !strings.Contains(j, "last") {
		t.Errorf("journal: %s", j)
	}
	if l := got["vms/web/console.log"]; !strings.HasPrefix(l, "begin\n") || !strings.HasSuffix(l, "\nend\n") {
		t.Errorf("the console's ends are gone: %.40s … %s", l, l[len(l)-40:])
	}
}

// TestWriteStops: one that is interrupted, or that can't be written, says so.
func TestWriteStops(t *testing.T) {
	t.Parallel()
	c := &Case{State: runs.StateDir(t.TempDir()), Tool: tool{t: t}, Doctor: func(context.Context) (any, error) { return 1, nil }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Write(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = full.Close() }()
	if _, err := c.Write(t.Context(), full); err == nil {
		t.Error("written to a full disk")
	}
}
