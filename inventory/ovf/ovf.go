// Package ovf reads an OVF descriptor, which describes VMs that were exported (DSP0243,
// versions 1 and 2, and what VMware adds to it), into the inventory's model.
//
// An OVF says less than a host: no UUID of the firmware, no MAC addresses but those
// that somebody wrote into it, nothing of snapshots, and no power state: what was
// exported was off. Its disks' files lie beside it, or in the same OVA.
package ovf

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"esxodus/inventory"

	"github.com/vmware/govmomi/ovf"
)

// MaxSize is the largest descriptor taken, in bytes. One is some KiB long.
const MaxSize = 8 << 20

const (
	maxVMs   = 1000
	maxItems = 4096 // of a VM's hardware
)

// ErrFormat is wrapped by errors about what is no OVF descriptor.
var ErrFormat = errors.New("not an OVF descriptor")

// Parse reads a descriptor, which is called name. A disk's Path is the name of its file,
// as it stands in the descriptor. What can't be of a VM is among its problems.
func Parse(text []byte, name string) ([]inventory.VM, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrFormat, len(text), MaxSize)
	}
	e, err := ovf.Unmarshal(bytes.NewReader(text))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	var systems []ovf.VirtualSystem
	if e.VirtualSystem != nil {
		systems = append(systems, *e.VirtualSystem)
	}
	if c := e.VirtualSystemCollection; c != nil {
		systems = append(systems, c.VirtualSystem...)
	}
	if len(systems) == 0 || len(systems) > maxVMs {
		return nil, fmt.Errorf("%w: it describes %d VMs (those of a collection within a collection aren't read)", ErrFormat, len(systems))
	}
	vms, ids := []inventory.VM{}, map[string]bool{}
	for i := range systems {
		vm := newVM(e, &systems[i], name)
		for n := 2; ids[vm.ID]; n++ {
			vm.ID = fmt.Sprintf("%s-%d", cmp.Or(systems[i].ID, "vm"), n)
		}
		ids[vm.ID] = true
		vms = append(vms, vm)
	}
	return vms, nil
}

// reader makes one VM of its part of a descriptor.
type reader struct {
	e        *ovf.Envelope
	vm       *inventory.VM
	hardware *ovf.VirtualHardwareSection
	parents  map[string]int // controllers, by InstanceID
	units    map[string]int // the next one that is free, by controller's InstanceID
}

func newVM(e *ovf.Envelope, s *ovf.VirtualSystem, name string) inventory.VM {
	vm := inventory.VM{
		ID: cmp.Or(s.ID, "vm"), Name: cmp.Or(strings.TrimSpace(text(s.Name)), s.ID), Path: name, Power: inventory.PowerUnknown, Firmware: inventory.BIOS,
		CPU: inventory.CPU{CoresPerSocket: 1, LimitMHz: -1}, Memory: inventory.Memory{LimitMiB: -1},
		Controllers: []inventory.Controller{}, Disks: []inventory.Disk{}, NICs: []inventory.NIC{},
	}
	if s.Annotation != nil {
		vm.Annotation = strings.TrimSpace(s.Annotation.Annotation)
	}
	if os := s.OperatingSystem; os != nil {
		vm.GuestID, vm.GuestFullName = text(os.OSType), strings.TrimSpace(text(os.Description))
	}
	r := &reader{e: e, vm: &vm, parents: map[string]int{}, units: map[string]int{}}
	if r.hardware = hardwareOf(s); r.hardware == nil {
		vm.Problem("the descriptor says nothing of its hardware")
		return vm
	}
	if n := len(r.hardware.Item); n > maxItems {
		vm.Problem("the descriptor has %d items of hardware", n)
		return vm
	}
	if len(r.hardware.StorageItem) > 0 {
		vm.Problem("the descriptor has a StorageItem, which esxodus doesn't read: export the VM as OVF 1")
	}
	if sys := r.hardware.System; sys != nil {
		if n, err := strconv.Atoi(strings.TrimPrefix(text(sys.VirtualSystemType), "vmx-")); err == nil && n > 0 && n < 1000 {
			vm.HardwareVersion = n
		}
	}
	items := r.items()
	for _, it := range items { // controllers first: disks name them
		r.controller(it)
	}
	for _, it := range items {
		r.item(it)
	}
	r.config()
	vm.Sort()
	return vm
}

// hardwareOf is VMware's kind of hardware, where a descriptor offers several.
func hardwareOf(s *ovf.VirtualSystem) *ovf.VirtualHardwareSection {
	for i := range s.VirtualHardware {
		h := &s.VirtualHardware[i]
		if h.System != nil && strings.HasPrefix(text(h.System.VirtualSystemType), "vmx-") {
			return h
		}
	}
	if len(s.VirtualHardware) == 0 {
		return nil
	}
	return &s.VirtualHardware[0]
}

// items are those of the configuration that is the default.
func (r *reader) items() []*ovf.ResourceAllocationSettingData {
	chosen := ""
	if d := r.e.DeploymentOption; d != nil && len(d.Configuration) > 0 {
		chosen = d.Configuration[0].ID
		for _, c := range d.Configuration {
			if c.Default != nil && *c.Default {
				chosen = c.ID
			}
		}
		r.vm.Notes = append(r.vm.Notes, fmt.Sprintf("the descriptor offers %d configurations; %q is taken", len(d.Configuration), chosen))
	}
	var out []*ovf.ResourceAllocationSettingData
	for i := range r.hardware.Item {
		it := &r.hardware.Item[i]
		if only := text(it.Configuration); only == "" || slices.Contains(strings.Fields(only), chosen) {
			out = append(out, it)
		}
	}
	return out
}

// config takes what VMware writes beside the hardware.
func (r *reader) config() {
	vm, rest := r.vm, map[string]string{}
	for _, c := range r.hardware.Config {
		yes := inventory.Truth(c.Value)
		switch c.Key {
		case "firmware":
			if strings.EqualFold(c.Value, string(inventory.EFI)) {
				vm.Firmware = inventory.EFI
			}
		case "bootOptions.efiSecureBootEnabled":
			vm.SecureBoot = yes
		case "cpuHotAddEnabled":
			vm.CPU.HotAdd = yes
		case "cpuHotRemoveEnabled":
			vm.CPU.HotRemove = yes
		case "memoryHotAddEnabled":
			vm.Memory.HotAdd = yes
		case "nestedHVEnabled":
			vm.NestedHV = yes
		case "tools.syncTimeWithHost":
			vm.SyncTime = yes
		default:
			if !ofVMware(c.Key) {
				rest["config."+c.Key] = c.Value
			}
		}
	}
	for _, c := range r.hardware.ExtraConfig {
		rest[c.Key] = c.Value
	}
	vm.SetOptions(rest)
}

// ofVMware reports whether a setting is about how VMware runs a VM, and the guest sees
// nothing of it.
func ofVMware(key string) bool {
	for _, p := range []string{"powerOpInfo.", "tools.", "virtualICH7M", "virtualSMC", "simultaneousThreads", "cpuAllocation.", "memoryAllocation.", "flags."} {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

// text is a string that may be absent.
func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// bytesOf reads a number of units, such as "byte * 2^30", as bytes.
func bytesOf(n uint64, units string) (int64, error) {
	factor := uint64(1)
	unit := strings.ToLower(strings.ReplaceAll(units, " ", ""))
	switch base, power, ok := strings.Cut(unit, "^"); {
	case ok && (base == "byte*2" || base == "bytes*2"):
		p, err := strconv.Atoi(power)
		if err != nil || p < 0 || p > 50 {
			return 0, fmt.Errorf("units of %.40q", units)
		}
		factor = 1 << p
	case unit == "" || unit == "byte" || unit == "bytes":
	default:
		shift, known := map[string]int{"kilobytes": 10, "kb": 10, "megabytes": 20, "mb": 20, "gigabytes": 30, "gb": 30}[unit]
		if !known {
			return 0, fmt.Errorf("units of %.40q", units)
		}
		factor = 1 << shift
	}
	if n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%d times %.40q", n, units)
	}
	return int64(n * factor), nil
}
