package guest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// Conversion is everything that is changed inside a guest so that it starts
// from its new layout, as data: the dry run shows it, the appliance does it.
type Conversion struct {
	// Mounts say how the guest's tree is put together, the root first, parents
	// before children.
	Mounts []Mount `json:"mounts"`
	// Checks are file systems that nothing is done to: they are not mounted,
	// only checked, as those of Mounts are, before and after. At may be "".
	Checks []Mount `json:"checks,omitempty"`
	// Install are packages that are missing, with what they need, and Remove
	// those that go, both by their names in the guest's package manager.
	Install []string `json:"install,omitempty"`
	Remove  []string `json:"remove,omitempty"`
	// Edits are files that change, in this order, after the packages.
	Edits []Edit `json:"edits,omitempty"`
	// Programs are files that esxodus brings along.
	Programs []Program `json:"programs,omitempty"`
	// Overlays are appended to the guest's initrds.
	Overlays []Overlay `json:"overlays,omitempty"`
	// Commands run in the guest's tree at the end, before the loader's.
	Commands [][]string `json:"commands,omitempty"`
	// Loader is the argv that writes the boot map; empty where none is written.
	Loader []string `json:"loader,omitempty"`
	// OwnLoader is the guest's own LILO ("lilo 1:24.2-5") where that stays in
	// charge: Loader is then its command, and its map is not esxodus's to check.
	OwnLoader string `json:"ownLoader,omitempty"`
	// OnlyDisks is what the guest's configuration allows disks to be called.
	OnlyDisks OnlyDisks `json:"onlyDisks,omitzero"`
	// Touches are what else changes, each because of what its reason says:
	// package managers' records, files of packages, logs.
	Touches []Touch `json:"touches,omitempty"`
}

// OnlyDisks says that a guest finds disks of one kind of name alone, which is
// to say on some buses. The zero value is for one that finds any.
type OnlyDisks struct {
	Prefix string `json:"prefix"` // "sd" or "vd"; "disk/" for names in directories of /dev/disk, which no bus keeps
	Reason string `json:"reason"` // what in the guest says so
}

// Changes reports whether anything in the guest is changed.
func (c *Conversion) Changes() bool {
	return len(c.Install)+len(c.Remove)+len(c.Edits)+len(c.Programs)+len(c.Overlays)+len(c.Commands)+len(c.Loader) > 0
}

// CheckPaths is an error if a file that is changed, or the place of a mount, isn't
// named by a plain absolute path.
func (c *Conversion) CheckPaths() error {
	var names []string
	for _, e := range c.Edits {
		names = append(names, e.Path)
	}
	for _, p := range c.Programs {
		names = append(names, p.Path)
	}
	for _, o := range c.Overlays {
		names = append(names, o.Initrd)
	}
	for _, m := range c.Mounts {
		names = append(names, m.At)
	}
	for _, name := range names {
		if !path.IsAbs(name) || path.Clean(name) != name || name != "/" && !fs.ValidPath(name[1:]) {
			return fmt.Errorf("path %q of the plan: want an absolute one without . or .. in it", name)
		}
	}
	return nil
}

// Mount is a file system of the guest's tree.
type Mount struct {
	Device  string `json:"device"` // in the appliance: "/dev/debian-vg/root"; "disk:scsi0:1" for a whole disk
	At      string `json:"at"`     // "/", "/boot"
	Content string `json:"content"`
}

// Edit is a change of one file of the guest. Its texts may be of any bytes:
// what is no UTF-8 is written to JSON as base64. Passwords in them are masked,
// see [Mask]; the file keeps its own.
type Edit struct {
	Path   string `json:"path"`             // absolute, in the guest
	Reason string `json:"reason"`           // for people
	Make   bool   `json:"make,omitempty"`   // the file is new
	Remove bool   `json:"remove,omitempty"` // the file goes
	Link   bool   `json:"link,omitempty"`   // a symbolic link, New is its target
	Mode   uint32 `json:"mode,omitempty"`   // of a new one: permission bits; else it stays as it is
	Old    string `json:"old,omitempty"`    // all of the file as it must be
	New    string `json:"new,omitempty"`    // all of the file as it will be
}

// Program is a file that esxodus brings along.
type Program struct {
	Path   string `json:"path"`   // absolute, in the guest
	Source string `json:"source"` // what it is: "lilo", else as package guestfiles has it
	Mode   uint32 `json:"mode"`   // permission bits
}

// Overlay is what is appended to one initrd.
type Overlay struct {
	Initrd  string   `json:"initrd"`            // absolute, in the guest
	Kernel  string   `json:"kernel"`            // version
	Files   []string `json:"files,omitempty"`   // taken from the guest, with the libraries that they need
	Also    []string `json:"also,omitempty"`    // as Files, where the guest has them
	Modules []string `json:"modules,omitempty"` // kernel modules, with what they need
	Texts   []Edit   `json:"texts,omitempty"`   // files of their own: conf/conf.d/resume
	Reason  string   `json:"reason"`
}

// Touch is a pattern of files that change besides the edits. The times of the
// directories that they are in change as well.
type Touch struct {
	Pattern string `json:"pattern"` // as of path.Match; with a final / all that is in such a directory, and it itself
	Reason  string `json:"reason"`
}

// Match reports whether the file at an absolute path is of the pattern.
func (t Touch) Match(name string) bool {
	dir, all := strings.CutSuffix(t.Pattern, "/")
	if !all {
		ok, err := path.Match(t.Pattern, name)
		return ok && err == nil
	}
	if dir == "" {
		return true
	}
	for depth := strings.Count(name, "/") - strings.Count(dir, "/"); depth > 0; depth-- {
		name = path.Dir(name)
	}
	ok, err := path.Match(dir, name)
	return ok && err == nil
}

// plainEdit is an Edit without its methods.
type plainEdit Edit

// editJSON is the form of an Edit in JSON.
type editJSON struct {
	plainEdit
	OldBytes []byte `json:"oldBytes,omitempty"` // in place of old and new
	NewBytes []byte `json:"newBytes,omitempty"`
}

// MarshalJSON writes texts that are no UTF-8 as oldBytes and newBytes.
func (e Edit) MarshalJSON() ([]byte, error) {
	out := editJSON{plainEdit: plainEdit(e)}
	if !utf8.ValidString(e.Old) {
		out.Old, out.OldBytes = "", []byte(e.Old)
	}
	if !utf8.ValidString(e.New) {
		out.New, out.NewBytes = "", []byte(e.New)
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Edit) UnmarshalJSON(b []byte) error {
	var in editJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*e = Edit(in.plainEdit)
	if len(in.OldBytes) > 0 {
		e.Old = string(in.OldBytes)
	}
	if len(in.NewBytes) > 0 {
		e.New = string(in.NewBytes)
	}
	return nil
}
