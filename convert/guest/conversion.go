package guest

// Conversion is everything that is changed inside a guest so that it starts
// from its new layout, as data: the dry run shows it, the appliance does it.
type Conversion struct {
	// Mounts say how the guest's tree is put together, the root first, parents
	// before children.
	Mounts []Mount `json:"mounts"`
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
	// Touches are patterns (as of path.Match, or a directory with a final /) of
	// everything else that changes, each because of what its reason says:
	// package managers' records, files of packages, logs.
	Touches []Touch `json:"touches,omitempty"`
}

// Mount is a file system of the guest's tree.
type Mount struct {
	Device  string `json:"device"` // in the appliance: "/dev/debian-vg/root"; "disk:scsi0:1" for a whole disk
	At      string `json:"at"`     // "/", "/boot"
	Content string `json:"content"`
}

// Edit is a change of one file of the guest.
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
	Source string `json:"source"` // what it is: "lilo", "lilo.8", "hooks/zz-runlilo"
	Mode   uint32 `json:"mode"`   // permission bits
}

// Overlay is what is appended to one initrd.
type Overlay struct {
	Initrd  string   `json:"initrd"`            // absolute, in the guest
	Kernel  string   `json:"kernel"`            // version
	Files   []string `json:"files"`             // taken from the guest, with the libraries that they need
	Modules []string `json:"modules,omitempty"` // kernel modules, with what they need
	Texts   []Edit   `json:"texts,omitempty"`   // files of their own: conf/conf.d/resume
	Reason  string   `json:"reason"`
}

// Touch is a pattern of files that change besides the edits.
type Touch struct {
	Pattern string `json:"pattern"`
	Reason  string `json:"reason"`
}
