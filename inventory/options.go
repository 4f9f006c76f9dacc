package inventory

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	cpuidMask    = regexp.MustCompile(`^cpuid\.[0-9a-f]+\.e[abcd]x(\.(amd|intel))?$`)
	ethernetSlot = regexp.MustCompile(`^ethernet([0-9]{1,3})\.pcislotnumber$`)
	bootOrderNIC = regexp.MustCompile(`^ethernet([0-9]{1,3})$`)
	diskAddress  = regexp.MustCompile(`^(scsi|sata|ide|nvme)([0-9]{1,3}):([0-9]{1,3})$`)
	throughput   = regexp.MustCompile(`^sched\.((?:scsi|sata|ide|nvme)[0-9]{1,3}:[0-9]{1,3})\.throughputcap$`)
	capValue     = regexp.MustCompile(`(?i)^([0-9]+)\s*([kmgt]?)i?(iops|ops|bps|b/s|b)?$`)
)

// SetOptions takes keys of a .vmx, or of the API's extraConfig, which is the
// same, into the fields that they fill, and the rest into Extra. Keys may
// have any case. Disks and NICs must be there already; a field that is
// filled stays.
func (vm *VM) SetOptions(options map[string]string) {
	low := make(map[string]string, len(options))
	for _, k := range slices.Sorted(maps.Keys(options)) { // sorted: of two keys that differ in case the same one wins always
		low[strings.ToLower(k)] = options[k]
	}
	disks := make(map[string]*Disk, len(vm.Disks)) // by address
	for i := range vm.Disks {
		disks[vm.Disks[i].Address()] = &vm.Disks[i]
	}
	vm.setGenerationID(low)
	vm.setBootOrder(low, disks)
	for key, value := range low {
		if !vm.setOption(key, value, disks) && !bookkeeping(key) {
			vm.setExtra(key, value)
		}
	}
}

func (vm *VM) setExtra(key, value string) {
	if Secret(key) {
		value = Hidden(value)
	}
	if vm.Extra == nil {
		vm.Extra = make(map[string]string)
	}
	vm.Extra[key] = value
}

// setOption fills the one field that key belongs to. It returns false for a
// key that no field holds wholly.
func (vm *VM) setOption(key, value string, disks map[string]*Disk) bool {
	switch key {
	case "vm.genid", "vm.genidx", "bios.bootorder", "bios.hddorder":
		return true // setGenerationID and setBootOrder have seen them
	case "bios.bootdelay":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 && vm.BootDelay == 0 {
			vm.BootDelay = n
		}
	case "disk.enableuuid":
		vm.DiskEnableUUID = vm.DiskEnableUUID || Truth(value)
	case "vhv.enable":
		vm.NestedHV = vm.NestedHV || Truth(value)
	case "tools.synctime":
		vm.SyncTime = vm.SyncTime || Truth(value)
	case "ctkenabled":
		vm.ChangeTracking = vm.ChangeTracking || Truth(value)
	case "rtc.difffromutc":
		vm.ClockOffset = value
	case "smbios.assettag":
		vm.SMBIOS.AssetTag = value
	case "serialnumber":
		vm.SMBIOS.Serial = value
	case "hw.model":
		vm.SMBIOS.Model = value
	case "board-id":
		vm.SMBIOS.Board = value
	case "nvram":
		if vm.NVRAM == "" && value != "" {
			vm.NVRAM = vm.Beside(value)
		}
	default:
		return vm.setPattern(key, value, disks)
	}
	return true
}

func (vm *VM) setPattern(key, value string, disks map[string]*Disk) bool {
	if len(key) > maxKnown {
		return false
	}
	if m := throughput.FindStringSubmatch(key); m != nil {
		return setThroughput(disks[m[1]], value)
	}
	if m := ethernetSlot.FindStringSubmatch(key); m != nil {
		index, _ := strconv.Atoi(m[1]) // 3 digits
		slot, err := strconv.Atoi(value)
		for i := range vm.NICs {
			if n := &vm.NICs[i]; n.Index == index && n.PCISlot == 0 && err == nil && slot > 0 {
				n.PCISlot = slot
			}
		}
		return true
	}
	if cpuidMask.MatchString(key) {
		masks := strings.Trim(value, "-: ") != ""
		vm.CPU.Masked = vm.CPU.Masked || masks
		return !masks // the mask itself goes to Extra
	}
	return false
}

// setThroughput reads a disk's limit: "80IOps" or "500" are operations a
// second, "10MBps" is bytes. It returns false for what is neither.
func setThroughput(d *Disk, value string) bool {
	value = strings.ToLower(strings.TrimSpace(value))
	switch value {
	case "", "off", "unlimited", "-1", "0":
		return true
	}
	m := capValue.FindStringSubmatch(value)
	if d == nil || m == nil {
		return false
	}
	operations, power := m[3] == "" || strings.HasSuffix(m[3], "ops"), strings.Index(" kmgt", cmp.Or(m[2], " "))
	unit := int64(1)
	for range power {
		if unit *= 1024; operations {
			unit = unit / 1024 * 1000
		}
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/unit || n == 0 {
		return false
	}
	switch {
	case operations && d.IOPSLimit == 0:
		d.IOPSLimit = n * unit
	case !operations && d.BytesLimit == 0:
		d.BytesLimit = n * unit
	}
	return true
}

// setGenerationID joins the two signed halves of the VM generation id. The
// guest sees the bytes of both, each in the processor's order, little-endian;
// the text of those 16 bytes has its first three fields in that order too, as
// every GUID's. (Measured with QEMU's vmgenid: the guest then has ESXi's own.)
func (vm *VM) setGenerationID(options map[string]string) {
	first, errFirst := strconv.ParseInt(options["vm.genid"], 10, 64)
	second, errSecond := strconv.ParseInt(options["vm.genidx"], 10, 64)
	if errFirst == nil && errSecond == nil {
		a, b := uint64(first), bits.ReverseBytes64(uint64(second))
		vm.GenerationID = UUID(fmt.Sprintf("%08x%04x%04x%016x", uint32(a), uint16(a>>32), uint16(a>>48), b))
	}
}

// setBootOrder reads bios.bootOrder ("cdrom,hdd,ethernet0") and bios.hddOrder
// ("scsi0:1,scsi0:0").
func (vm *VM) setBootOrder(options map[string]string, disks map[string]*Disk) {
	vm.HDDOrder = nil
	for _, address := range words(options["bios.hddorder"]) {
		if diskAddress.MatchString(address) {
			vm.HDDOrder = append(vm.HDDOrder, address)
		}
	}
	if len(vm.BootOrder) > 0 {
		return
	}
	for _, word := range words(options["bios.bootorder"]) {
		vm.BootOrder = append(vm.BootOrder, vm.bootDevices(word, disks)...)
	}
}

// bootDevices turns one word of bios.bootOrder into those of BootOrder.
func (vm *VM) bootDevices(word string, at map[string]*Disk) []string {
	word = strings.TrimPrefix(word, "allow:")
	switch word {
	case "hdd", "hd", "disk":
		var disks []string
		for _, address := range vm.HDDOrder {
			if d := at[address]; d != nil {
				disks = append(disks, fmt.Sprintf("disk:%d", d.Key))
			}
		}
		if len(disks) == 0 {
			return []string{"disk"}
		}
		return disks
	case "cd", "cdrom":
		return []string{"cdrom"}
	case "fd", "floppy":
		return []string{"floppy"}
	}
	if m := bootOrderNIC.FindStringSubmatch(word); m != nil {
		index, _ := strconv.Atoi(m[1]) // 3 digits
		for _, n := range vm.NICs {
			if n.Index == index {
				return []string{fmt.Sprintf("ethernet:%d", n.Key)}
			}
		}
	}
	return []string{word}
}

// words returns the words of a boot order, of which no machine has many.
func words(list string) []string {
	const maxWords = 300
	all := strings.FieldsFunc(strings.ToLower(list[:min(len(list), 64*maxWords)]), func(r rune) bool { return r == ',' || r == ' ' })
	return all[:min(len(all), maxWords)]
}

// Beside returns the datastore path of a file that the .vmx names: relative
// names are in the directory of vm.Path.
func (vm *VM) Beside(name string) string {
	if strings.HasPrefix(name, "/") || strings.HasPrefix(name, "[") || vm.Path == "" {
		return name
	}
	store, dir := "", vm.Path
	if end := strings.LastIndex(vm.Path, "] "); end >= 0 {
		store, dir = vm.Path[:end+2], vm.Path[end+2:]
	}
	return store + path.Join(path.Dir(dir), name)
}

// NoMedium reports whether the file of a drive means that the drive is empty.
func NoMedium(file string) bool {
	name := strings.TrimSpace(file[strings.LastIndex(file, "]")+1:])
	return name == "" || strings.EqualFold(name, "emptyBackingString")
}

// Truth reports whether a .vmx's value means yes.
func Truth(value string) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true", "yes", "y", "on", "1", "t":
		return true
	}
	return false
}

// UUID brings 32 hex digits, with whatever stands between them ("56 4d …-70
// 81 …"), into the form 8-4-4-4-12 in lower case. It returns "" for anything
// else.
func UUID(s string) string {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(strings.ToLower(s))
	if b, err := hex.DecodeString(digits); err != nil || len(b) != 16 {
		return ""
	}
	return strings.Join([]string{digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]}, "-")
}

// Problem adds to vm.Problems.
func (vm *VM) Problem(format string, args ...any) {
	vm.Problems = append(vm.Problems, fmt.Sprintf(format, args...))
}
