package volume

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"esxodus/convert/host"

	"golang.org/x/sys/unix"
)

// Writer is a host that has volumes of unfinished runs in a group.
type Writer struct {
	Host string `json:"host"`
	Tag  string `json:"tag"` // by which the group says so
}

// writerPrefix begins the tags of writers. What follows is the host's name and,
// for hosts that have one name, a digest of its machine id.
const writerPrefix = "esxodus_writer_"

// newWriter names a host as a writer. LVM's tags have few characters (lvm(8),
// TAGS): of the name, what isn't a letter, digit, hyphen or dot becomes =XX.
func newWriter(name, machine string) Writer {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	// A machine id is to be kept secret (machine-id(5)).
	sum := sha256.Sum256([]byte("esxodus writer\n" + machine))
	return Writer{Host: name, Tag: writerPrefix + b.String() + "_" + hex.EncodeToString(sum[:4])}
}

// TakeOver is the command that takes a volume group over from a host that is gone.
func (w Writer) TakeOver(vg string) string {
	return fmt.Sprintf("vgchange --deltag '%s' %s", w.Tag, vg)
}

// parseWriter returns the writer of a tag; ok is false if it is none.
func parseWriter(tag string) (w Writer, ok bool) {
	rest, ok := strings.CutPrefix(tag, writerPrefix)
	if !ok {
		return Writer{}, false
	}
	name, _, _ := strings.Cut(rest, "_")
	var b strings.Builder
	for len(name) > 0 {
		if n, err := strconv.ParseUint(name[min(1, len(name)):min(3, len(name))], 16, 8); name[0] == '=' && len(name) > 2 && err == nil {
			b.WriteByte(byte(n))
			name = name[3:]
			continue
		}
		b.WriteByte(name[0])
		name = name[1:]
	}
	return Writer{Host: b.String(), Tag: tag}, true
}

// thisWriter names this host.
func thisWriter() (Writer, error) {
	name, err := os.Hostname()
	if err != nil {
		return Writer{}, fmt.Errorf("this host's name: %w", err)
	}
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Writer{}, fmt.Errorf("this host's id: %w", err)
	}
	return newWriter(name, strings.TrimSpace(string(machine))), nil
}

// self is this host as a writer.
func (l LVM) self() (Writer, error) {
	if l.writer != (Writer{}) {
		return l.writer, nil
	}
	return thisWriter()
}

// look reads the group as it is on the disks now.
func (l LVM) look(ctx context.Context) (Group, error) {
	self, err := l.self()
	if err == nil {
		err = CheckVG(l.VG)
	}
	if err != nil {
		return Group{}, err
	}
	groups, err := groupsOf(ctx, hostRunner{l}, self, l.VG)
	if err != nil {
		return Group{}, l.unread(err)
	}
	if len(groups) != 1 || groups[0].Name != l.VG {
		return Group{}, l.twice(len(groups))
	}
	return groups[0], nil
}

// hostRunner runs programs as [LVM.run] does.
type hostRunner struct{ l LVM }

func (r hostRunner) Run(ctx context.Context, argv ...string) ([]byte, error) {
	return r.l.run(ctx, argv...)
}

// turn is this host's, to change a group's metadata.
type turn struct {
	l    LVM
	g    Group
	self Writer // the zero value where LVM itself sees to it that hosts take turns
}

// changing calls do to change the group's metadata.
//
// Where several hosts may see the group, and neither lvmlockd nor a system id
// guards it, LVM's own lock is a file of each host's: two that write at a time
// lose one's changes, and give one extent to two volumes. Then the rule is one
// writer at a time. A host that makes volumes has its tag on the group first, and
// on each of them, and takes it off with the last of their runs. Who finds
// another's tag writes nothing. Of two that put theirs on at the same instant one
// loses its own, and notices: it looks again after a while, longer than a command
// of LVM's takes from reading the group to writing it. Of hosts that don't heed
// tags the count of changes tells.
func (l LVM) changing(ctx context.Context, do func(t turn) error) error {
	g, err := l.look(ctx)
	if err != nil {
		return err
	}
	if !g.unguarded() {
		return do(turn{l: l, g: g})
	}
	// Of this host's runs one must not take the tag off while another is about
	// to make a volume.
	release, err := lockFile(ctx, "/run/esxodus-vg-"+l.VG+".lock", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer release()
	t := turn{l: l}
	if t.self, err = l.self(); err != nil {
		return err
	}
	if t.g, err = l.look(ctx); err != nil {
		return err
	}
	return do(t)
}

// free is an error if another host is the writer.
func (t *turn) free() error {
	if t.self.Tag == "" || len(t.g.Others) == 0 {
		return nil
	}
	return t.g.taken()
}

// taken says that another host is the writer, and how to take the group over.
func (g *Group) taken() error {
	w := g.Others[0]
	return fmt.Errorf("volume group %s: its writer is the host %q, which has runs there that are neither committed nor rolled back; without lvmlockd only one host at a time may change the group: end them there (`esxodus status`); only if that host is gone for good, `%s` takes the group over", g.Name, w.Host, w.TakeOver(g.Name))
}

// settle is how long one that has become the writer waits to see whether it is.
const settle = 2 * time.Second

// begin makes this host the writer, or sees that it still is, and that nothing has
// changed since the turn began.
func (t *turn) begin(ctx context.Context) error {
	if t.self.Tag == "" {
		return nil
	}
	before := t.g.seq
	if !slices.Contains(t.g.tags, t.self.Tag) {
		// LVM compares the count again, under its own lock.
		if _, err := t.l.run(ctx, "vgchange", "--quiet", "--nohints", "--addtag", t.self.Tag, "--select", "vg_seqno="+strconv.FormatInt(before, 10), t.l.VG); err != nil {
			return fmt.Errorf("volume group %s: becoming its writer: %w", t.l.VG, err)
		}
		if err := host.Pause(ctx, cmp.Or(t.l.settle, settle)); err != nil {
			return err
		}
		before++
	}
	if err := t.still(ctx); err != nil {
		return err
	}
	if t.g.seq != before {
		return t.g.disturbed()
	}
	return nil
}

// still reads the group anew, and is an error unless this host is its only writer.
func (t *turn) still(ctx context.Context) (err error) {
	if t.g, err = t.l.look(ctx); err != nil {
		return err
	}
	if err := t.free(); err != nil {
		return err
	}
	if !slices.Contains(t.g.tags, t.self.Tag) {
		return t.g.disturbed()
	}
	return nil
}

// disturbed says that another host or program doesn't heed tags.
func (g *Group) disturbed() error {
	return fmt.Errorf("volume group %s: something else has changed it at the same time: see that no other host or program does while esxodus makes volumes there, and repeat the command", g.Name)
}

// claim is the options of an lvcreate: the writer's tag, and that other hosts, which
// see the volume as well, don't activate it when they boot, as it may go again.
func (t *turn) claim(ctx context.Context) ([]string, error) {
	return t.options(ctx, "--addtag", "n")
}

// disclaim is the options of an lvchange that takes the tag off again. From then on each
// boot activates the volume: a domain that starts with its host must find it, and one
// that moves to another host, too.
func (t *turn) disclaim(ctx context.Context) ([]string, error) {
	return t.options(ctx, "--deltag", "y")
}

func (t *turn) options(ctx context.Context, tag, activation string) ([]string, error) {
	if t.self.Tag == "" {
		return nil, nil
	}
	out := []string{tag, t.self.Tag}
	version, err := t.l.run(ctx, "lvcreate", "--version")
	if err != nil {
		return nil, err
	}
	if autoactivates(string(version)) {
		out = append(out, "--setautoactivation", activation)
	}
	return out, nil
}

// autoactivates reports whether an LVM of this version knows --setautoactivation,
// which came with 2.03.12.
func autoactivates(version string) bool {
	_, rest, _ := strings.Cut(version, "LVM version:")
	var major, minor, patch int
	if _, err := fmt.Sscanf(rest, " %d.%d.%d", &major, &minor, &patch); err != nil {
		return false
	}
	return slices.Compare([]int{major, minor, patch}, []int{2, 3, 12}) >= 0
}

// made is an error if another host's change has taken the volume away from under an
// lvcreate, or made that host the writer. One that came after ours, and kept it, is
// none.
func (t *turn) made(ctx context.Context, v Volume, run string) error {
	if t.self.Tag == "" {
		return nil
	}
	if err := t.still(ctx); err != nil {
		return err
	}
	lvs, err := t.l.volumes(ctx)
	if err == nil && !slices.Contains(lvs[v.LV].Tags, tag(run)) {
		err = fmt.Errorf("another host has changed the volume group %s at the same time: LVM has lost the volume, but this host's kernel may still show it (`dmsetup remove %s`)", v.VG, mapped(v))
	}
	return err
}

// leave takes this host's tag off the group if none of its volumes has it any
// more.
func (t *turn) leave(ctx context.Context) (err error) {
	if t.self.Tag == "" {
		return nil
	}
	if t.g, err = t.l.look(ctx); err != nil || !slices.Contains(t.g.tags, t.self.Tag) {
		return err
	}
	lvs, err := t.l.volumes(ctx)
	if err != nil {
		return err
	}
	for _, lv := range lvs {
		if slices.Contains(lv.Tags, t.self.Tag) {
			return nil
		}
	}
	if err := t.free(); err != nil {
		return err
	}
	_, err = t.l.run(ctx, "vgchange", "--quiet", "--nohints", "--deltag", t.self.Tag, "--select", "vg_seqno="+strconv.FormatInt(t.g.seq, 10), t.l.VG)
	if err != nil {
		return fmt.Errorf("volume group %s: giving up its writer's tag: %w", t.l.VG, err)
	}
	if t.g, err = t.l.look(ctx); err == nil && slices.Contains(t.g.tags, t.self.Tag) {
		err = t.g.disturbed()
	}
	return err
}
