// Package support packs what somebody who is to help needs to know of runs and of this
// host into one archive, without the secrets in it.
package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"esxodus/convert/cutover"
	"esxodus/convert/host"
	"esxodus/convert/journal"
	"esxodus/convert/runs"
	"esxodus/disk"
	"esxodus/inventory/redact"
)

// Limits, in bytes: of one member, whose beginning and end are kept, and of all.
const (
	maxMember = 4 << 20
	maxAll    = 64 << 20
)

// patience is how long a program has: LVM waits for devices that don't answer.
const patience = 30 * time.Second

// Case is what an archive is made of.
type Case struct {
	Version string
	Now     time.Time
	State   runs.StateDir
	Names   []string // of the runs; those of one VM, or all
	Network bool     // the runs of this host's networking, too
	Libvirt string   // the address of the hypervisor's manager
	Tool    host.Runner
	Doctor  func(ctx context.Context) (any, error)
	Secrets []string // that are known, and taken out wherever they stand
}

// Member is a file in the archive.
type Member struct {
	Name  string `json:"name"`
	What  string `json:"what"`
	Bytes int64  `json:"bytes"`
}

// pack is an archive that is being written.
type pack struct {
	*Case
	tar     *tar.Writer
	members []Member
	total   int64
	err     error
}

// Write writes the archive, a tar.gz, to w and says what is in it. What can't be found
// out is in it as the error that says so.
func (c *Case) Write(ctx context.Context, w io.Writer) ([]Member, error) {
	zip := gzip.NewWriter(w)
	p := &pack{Case: c, tar: tar.NewWriter(zip)}
	p.text("README", "what this is", []byte(readme(c)))
	p.host(ctx)
	for _, name := range c.Names {
		p.run(ctx, name)
	}
	if c.Network {
		p.networks()
	}
	if p.err == nil {
		p.err = context.Cause(ctx)
	}
	return p.members, errors.Join(p.err, p.tar.Close(), zip.Close())
}

func readme(c *Case) string {
	return fmt.Sprintf(`Made by esxodus %s at %s.

Passwords, keys, tokens and hashes of passwords are taken out where they are known or
can be told by their names: *** stands for each. Names and addresses of hosts and
guests are in it: look before you hand it on. Journals are written anew for that, so
that they can be read but not gone on with.
`, c.Version, c.Now.UTC().Format(time.RFC3339))
}

// add adds a member whose secrets are out already.
func (p *pack) add(name, what string, text []byte) {
	if p.err != nil {
		return
	}
	if p.total += int64(len(text)); p.total > maxAll {
		p.err = fmt.Errorf("more than %d MiB: name one VM", maxAll>>20)
		return
	}
	p.err = p.tar.WriteHeader(&tar.Header{Name: "esxodus-support/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: p.Now})
	if p.err == nil {
		_, p.err = p.tar.Write(text)
	}
	p.members = append(p.members, Member{name, what, int64(len(text))})
}

// text adds a text.
func (p *pack) text(name, what string, text []byte) {
	p.add(name, what, []byte(redact.Record(string(text), p.Secrets...)))
}

// json adds a value as JSON.
func (p *pack) json(name, what string, v any, err error) {
	var b []byte
	if err == nil {
		b, err = json.Marshal(v)
	}
	if err != nil {
		p.text(name, what, []byte(err.Error()+"\n"))
		return
	}
	var out bytes.Buffer
	if err := json.Indent(&out, redact.JSON(b, p.Secrets...), "", "  "); err != nil {
		p.err = errors.Join(p.err, err)
	}
	p.add(name, what, out.Bytes())
}

// ask adds what programs print, one after the other.
func (p *pack) ask(ctx context.Context, name, what string, programs ...[]string) {
	var out bytes.Buffer
	for _, argv := range programs {
		if len(programs) > 1 {
			fmt.Fprintf(&out, "$ %s\n", strings.Join(argv, " "))
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		text, err := p.Tool.Run(limited, argv...)
		cancel()
		out.Write(bounded(text))
		if err != nil {
			fmt.Fprintln(&out, err)
		}
	}
	p.text(name, what, out.Bytes())
}

// host adds what there is to know of this host.
func (p *pack) host(ctx context.Context) {
	p.text("versions/esxodus", "esxodus's version", []byte(p.Version+"\n"))
	p.file("versions/os-release", "this host's system", "/etc/os-release", p.text)
	p.ask(ctx, "versions/programs", "versions of the kernel, libvirt, QEMU, LVM, libguestfs and systemd", []string{"uname", "-a"},
		[]string{"virsh", "-r", "-c", p.Libvirt, "version"}, []string{"qemu-system-x86_64", "--version"}, []string{"qemu-img", "--version"},
		[]string{"lvm", "version"}, []string{"guestfish", "--version"}, []string{"systemctl", "--version"})
	r, err := p.Doctor(ctx)
	p.json("doctor.json", "what esxodus doctor says of this host", r, err)
	for _, report := range [][]string{
		{"lvs", "--all", "--options", "lv_all"}, {"vgs", "--options", "vg_all"}, {"pvs", "--options", "pv_all"},
	} {
		p.ask(ctx, "lvm/"+report[0]+".json", "LVM's report of "+report[0], append(report, "--units", "b", "--reportformat", "json"))
	}
	p.ask(ctx, "network/links", "this host's links, as the kernel has them", []string{"ip", "-details", "link"}, []string{"ip", "-details", "address"})
	p.ask(ctx, "network/networkctl", "the same, as networkd has them", []string{"networkctl", "--no-pager", "--all", "status"})
}

// run adds what is on record of one VM.
func (p *pack) run(ctx context.Context, name string) {
	at, dir := "vms/"+name+"/", p.State.Dir(name)
	s, err := p.State.State(name)
	p.json(at+"state.json", "what esxodus status says of "+name, s, err)
	if err == nil {
		p.json(at+"plan.json", "the part of the plan that it carries out", s.Job, nil)
	}
	p.file(at+"journal", "its journal", filepath.Join(dir, journal.FileName), p.lines)
	p.file(at+"cutover/journal", "its cutover's journal", filepath.Join(cutover.Dir(dir), journal.FileName), p.lines)
	p.file(at+runs.LogFile, "its log", filepath.Join(dir, runs.LogFile), p.text)
	p.file(at+runs.ConsoleFile, "what the guest wrote to its serial console", filepath.Join(dir, runs.ConsoleFile), p.text)
	p.ask(ctx, at+"domain.xml", "its domain as it is now", []string{"virsh", "-r", "-c", p.Libvirt, "dumpxml", "--", name})
}

// networks adds the journals of changes of this host's networking.
func (p *pack) networks() {
	root := filepath.Join(string(p.State), "network")
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.text("network/runs", "the changes of this host's networking", []byte(err.Error()+"\n"))
	}
	for _, e := range entries {
		p.file("network/runs/"+e.Name()+"/journal", "the journal of a change of this host's networking", filepath.Join(root, e.Name(), journal.FileName), p.lines)
	}
}

// file adds a file, if it is there, by what takes its secrets out.
func (p *pack) file(name, what, path string, add func(name, what string, text []byte)) {
	text, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		p.text(name, what, []byte(err.Error()+"\n"))
	default:
		add(name, what, text)
	}
}

// lines adds a journal, record by record: one that is damaged takes no other with it.
func (p *pack) lines(name, what string, text []byte) {
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		if _, is := bytes.CutPrefix(line, []byte(cutMark)); is {
			out.Write(line)
			continue
		}
		out.Write(redact.JSON(line, p.Secrets...))
	}
	p.add(name, what, out.Bytes())
}

// cutMark begins the line that stands for what is left out.
const cutMark = "(esxodus support: "

// read reads a file, or, where it is too long, its beginning and end in whole lines: a
// part of one might hold a secret without its name.
func read(path string) ([]byte, error) {
	f, err := disk.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() <= maxMember {
		return io.ReadAll(io.LimitReader(f, maxMember))
	}
	ends := make([]byte, maxMember)
	for _, part := range []struct {
		buf []byte
		off int64
	}{{ends[:maxMember/2], 0}, {ends[maxMember/2:], info.Size() - maxMember/2}} {
		if _, err := f.ReadAt(part.buf, part.off); err != nil {
			return nil, err
		}
	}
	return joint(ends[:maxMember/2], ends[maxMember/2:], info.Size()-maxMember), nil
}

// bounded is a text as [read] would read it.
func bounded(text []byte) []byte {
	if len(text) <= maxMember {
		return text
	}
	return joint(text[:maxMember/2], text[len(text)-maxMember/2:], int64(len(text)-maxMember))
}

// joint puts whole lines of a beginning and an end together.
func joint(head, tail []byte, between int64) []byte {
	first := head[:bytes.LastIndexByte(head, '\n')+1]
	_, last, _ := bytes.Cut(tail, []byte("\n"))
	out := int64(len(head)-len(first)+len(tail)-len(last)) + between
	return slices.Concat(first, fmt.Appendf(nil, "%s%d bytes are left out here)\n", cutMark, out), last)
}
