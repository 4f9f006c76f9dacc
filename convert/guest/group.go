package guest

// Group is a volume group of LVM, as the newest metadata on the VM's disks
// describes it. Sizes and offsets are bytes.
type Group struct {
	Name       string    `json:"name"`
	UUID       string    `json:"uuid"`
	Seqno      int64     `json:"seqno"` // counts the changes of its metadata
	ExtentSize int64     `json:"extentSize"`
	Status     []string  `json:"status,omitempty"`   // RESIZEABLE, READ, WRITE, EXPORTED …
	SystemID   string    `json:"systemID,omitempty"` // the one host that may use it
	LockType   string    `json:"lockType,omitempty"` // of a shared one: sanlock, dlm
	MaxLVs     int64     `json:"maxLVs,omitempty"`   // 0 for no limit
	PVs        []GroupPV `json:"pvs"`                // in the metadata's order
	LVs        []GroupLV `json:"lvs,omitempty"`      // all, also those that are parts of others
}

// GroupPV is a physical volume of a group and where it was found.
type GroupPV struct {
	UUID      string     `json:"uuid"`           // in LVM's groups
	Disk      string     `json:"disk,omitempty"` // address; "" where no disk of the VM has it
	Partition int        `json:"partition"`      // number, 0 for the whole disk
	Offset    int64      `json:"offset"`         // of it on that disk
	Length    int64      `json:"length"`         // of the partition or disk
	Start     int64      `json:"start"`          // from Offset to extent 0
	Extents   int64      `json:"extents"`
	Status    []string   `json:"status,omitempty"` // ALLOCATABLE …
	Flags     []string   `json:"flags,omitempty"`  // MISSING …
	Label     int        `json:"label"`            // the sector that holds the label, 0 to 3
	Metadata  []Metadata `json:"metadata,omitempty"`
	Copies    int        `json:"copies"` // how many of the VM's partitions and disks claim to be it
}

// Metadata is a metadata area, counted from the physical volume's start.
type Metadata struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// GroupLV is a logical volume of a group.
type GroupLV struct {
	Name     string      `json:"name"`
	Visible  bool        `json:"visible"` // for users, and no part of another
	Types    []string    `json:"types"`   // of its segments, each once: linear, thin, raid1 …
	Segments []LVSegment `json:"segments,omitempty"`
	// Origin is the volume that this one is a classic snapshot of.
	Origin string `json:"origin,omitempty"`
}

// LVSegment is a run of a logical volume's extents.
type LVSegment struct {
	Start int64    `json:"start"` // first logical extent
	Count int64    `json:"count"` // extents
	Areas []LVArea `json:"areas,omitempty"`
}

// LVArea is where a segment lies, or one stripe of it: of n stripes each has
// an nth of the segment's extents. Segments of other types have no areas.
type LVArea struct {
	PV string `json:"pv"` // UUID
	PE int64  `json:"pe"` // first physical extent
}

// Linear reports whether the volume is made of runs of extents and nothing
// else.
func (v GroupLV) Linear() bool {
	return len(v.Types) == 1 && v.Types[0] == "linear"
}

// Extents is the volume's size in extents.
func (v GroupLV) Extents() int64 {
	var n int64
	for _, s := range v.Segments {
		n += s.Count
	}
	return n
}
