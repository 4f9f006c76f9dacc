// Package guest looks inside a VM's disks, before anything is copied, for what
// decides whether and how it will run as a domain.
package guest

// Guest is what a look inside found. Every field may be empty: a look that
// finds nothing is no error, the plan then says so.
type Guest struct {
	OS          string       `json:"os,omitempty"`      // linux, windows, bsd; "" unknown
	Distro      string       `json:"distro,omitempty"`  // os-release ID: debian
	Version     string       `json:"version,omitempty"` // os-release VERSION_ID: 12
	PrettyName  string       `json:"prettyName,omitempty"`
	Hostname    string       `json:"hostname,omitempty"`
	Disks       []DiskLayout `json:"disks"`                // in the VM's order
	Kernels     []string     `json:"kernels,omitempty"`    // versions with an image in /boot
	Consoles    []string     `json:"consoles,omitempty"`   // console= of the default boot entry: "ttyS0,115200n8"
	Interfaces  []string     `json:"interfaces,omitempty"` // NIC names that the guest's configuration uses: ens192
	DiskNames   []string     `json:"diskNames,omitempty"`  // unstable names its configuration uses: /dev/sda1
	Agent       bool         `json:"agent,omitempty"`      // qemu-guest-agent is installed
	OpenVMTools bool         `json:"openVMTools,omitempty"`
	Notes       []string     `json:"notes,omitempty"` // what could not be read, and why
}

// DiskLayout is one disk's partition table and what its partitions hold.
type DiskLayout struct {
	Address    string      `json:"address"`            // the source's: "scsi0:0"
	Table      string      `json:"table"`              // mbr, gpt, none
	BootCode   bool        `json:"bootCode,omitempty"` // sector 0 holds code and ends in 55 AA
	Partitions []Partition `json:"partitions,omitempty"`
}

// Partition is one partition, or the whole disk where there is no table (then
// Number is 0).
type Partition struct {
	Number  int    `json:"number"`
	Offset  int64  `json:"offset"`            // bytes
	Length  int64  `json:"length"`            // bytes
	Type    string `json:"type,omitempty"`    // table's type: 83, ef00's GUID
	Content string `json:"content,omitempty"` // ext4, xfs, swap, lvm2, vfat, ntfs, luks, btrfs, md …; "" unknown
	Label   string `json:"label,omitempty"`
	UUID    string `json:"uuid,omitempty"`  // of the file system
	Mount   string `json:"mount,omitempty"` // from the guest's fstab
}
