package vmx

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"esxodus/inventory"
)

// reader takes keys out of a File; what is left goes to VM.SetOptions.
type reader struct {
	left map[string]string
	vm   *inventory.VM
}

// vm is the machine that the file at p describes. All that a host adds is empty;
// names of files are as the .vmx has them. The error wraps [ErrFormat] when it
// describes none.
func (f File) vm(p string) (inventory.VM, error) {
	vm := inventory.VM{
		Path: p, Power: inventory.PowerUnknown, Firmware: inventory.BIOS, Problems: slices.Clone(f.Problems), Notes: f.Notes,
		Controllers: []inventory.Controller{}, Disks: []inventory.Disk{}, NICs: []inventory.NIC{},
	}
	r := reader{left: maps.Clone(f.Values), vm: &vm}
	if !r.has("config.version") && !r.has("virtualhw.version") {
		return vm, fmt.Errorf("%w: it has neither config.version nor virtualHW.version", ErrFormat)
	}
	r.identity()
	r.compute()
	r.storage()
	r.nics()
	r.ports()
	r.extras()
	if r.take("checkpoint.vmstate") != "" {
		vm.Power = inventory.Suspended
	}
	vm.SetOptions(r.left)
	vm.Sort()
	slices.Sort(vm.Problems)
	return vm, nil
}

func (r *reader) has(key string) bool { _, ok := r.left[key]; return ok }

// take returns a key's value and crosses it off.
func (r *reader) take(key string) string {
	v := r.left[key]
	delete(r.left, key)
	return v
}

func (r *reader) yes(key string) bool { return inventory.Truth(r.take(key)) }

// connected reads a startConnected, which is true unless it says otherwise.
func (r *reader) connected(prefix string) bool {
	v := r.take(prefix + "startconnected")
	return v == "" || inventory.Truth(v)
}

// number returns a key's value as a number from least up, or absent when it
// is not set. A value that isn't one is a problem.
func (r *reader) number(key string, absent, least int64) int64 {
	v := strings.TrimSpace(r.take(key))
	if v == "" {
		return absent
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least {
		r.vm.Problem("%s is %q: want a number from %d up", key, clip(v), least)
		return absent
	}
	return n
}

// clip is the beginning of s, whole characters of it.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 40)], "") }

func (r *reader) identity() {
	vm := r.vm
	vm.Name = r.take("displayname")
	if vm.Name == "" {
		vm.Name = strings.TrimSuffix(path.Base(vm.Path), path.Ext(vm.Path))
	}
	vm.Template = strings.EqualFold(path.Ext(vm.Path), ".vmtx")
	vm.Annotation = r.take("annotation")
	vm.BIOSUUID, vm.InstanceUUID = inventory.UUID(r.take("uuid.bios")), inventory.UUID(r.take("vc.uuid"))
	vm.HardwareVersion = r.count("virtualhw.version", 0, 0)
	vm.GuestID, vm.GuestFullName = guestID(r.take("guestos")), r.take("guestosaltname")
	if strings.EqualFold(r.take("firmware"), string(inventory.EFI)) {
		vm.Firmware = inventory.EFI
	}
	vm.SecureBoot, vm.TPM = r.yes("uefi.secureboot.enabled"), r.yes("vtpm.present")
	vm.Encrypted = r.has("encryption.keysafe") || r.has("encryption.data")
	delete(r.left, "encryption.keysafe") // holds the wrapped keys
	delete(r.left, "encryption.data")
}

// count is number for what is an int in the model.
func (r *reader) count(key string, absent, least int64) int {
	n := r.number(key, absent, least)
	if n > math.MaxInt32 {
		r.vm.Problem("%s is %d", key, n)
		return int(absent)
	}
	return int(n)
}

func (r *reader) compute() {
	cpu, m := &r.vm.CPU, &r.vm.Memory
	cpu.Count = r.count("numvcpus", 1, 1)
	cpu.CoresPerSocket = max(1, r.count("cpuid.corespersocket", 1, 0)) // 0 is "as ESXi likes"
	cpu.HotAdd, cpu.HotRemove = r.yes("vcpu.hotadd"), r.yes("vcpu.hotremove")
	m.SizeMiB = r.number("memsize", 32, 1) // 32 is VMware's default
	m.HotAdd, m.Locked = r.yes("mem.hotadd"), r.yes("sched.mem.pin")
	cpu.ReservationMHz, cpu.LimitMHz = r.number("sched.cpu.min", 0, 0), r.limit("sched.cpu.max")
	// VMware's shares by level: per CPU, and per MiB of memory.
	cpu.Shares, cpu.SharesLevel = r.shares("sched.cpu.shares", 500*int64(cpu.Count))
	m.ReservationMiB, m.LimitMiB = r.number("sched.mem.min", r.number("sched.mem.minsize", 0, 0), 0), r.limit("sched.mem.max")
	m.Shares, m.SharesLevel = r.shares("sched.mem.shares", satMul(5, m.SizeMiB))
	delete(r.left, "sched.cpu.units")
	cpu.Affinity = r.affinity("sched.cpu.affinity")
}

func satMul(a, b int64) int64 {
	if b > math.MaxInt32/a {
		return math.MaxInt32
	}
	return a * b
}

func (r *reader) limit(key string) int64 {
	switch strings.ToLower(r.left[key]) {
	case "", "unlimited", "-1":
		delete(r.left, key)
		return -1
	}
	return r.number(key, -1, 0)
}

// shares reads a level or a number; low is the level low's number. Without
// the key it is the level normal.
func (r *reader) shares(key string, low int64) (int, string) {
	level := cmp.Or(strings.ToLower(r.left[key]), "normal")
	factor, named := map[string]int64{"low": 1, "normal": 2, "high": 4}[level]
	if named {
		delete(r.left, key)
		return int(min(low, math.MaxInt32/4) * factor), level
	}
	if n := r.count(key, 0, 0); n > 0 {
		return n, "custom"
	}
	return 0, ""
}

// affinity reads "0,2-3"; "all" is none.
func (r *reader) affinity(key string) []int {
	const maxCPU = 4096
	v := strings.ToLower(strings.TrimSpace(r.take(key)))
	if v == "" || v == "all" {
		return nil
	}
	var cpus []int
	for part := range strings.SplitSeq(v, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.Atoi(first)
		b, errB := strconv.Atoi(last)
		if errA != nil || errB != nil || a < 0 || b < a || b >= maxCPU || len(cpus) > maxCPU {
			r.vm.Problem("%s is %q: want CPU numbers such as 0,2-3", key, clip(v))
			return nil
		}
		for n := a; n <= b; n++ {
			cpus = append(cpus, n)
		}
	}
	return cpus
}

// device takes the beginning of a key apart: the class of a device, its number,
// and what stands after the mark. It looks at no more of a key than that.
func device(key string, mark byte) (class string, n int, rest string, ok bool) {
	i := 0
	for i < len(key) && i < 32 && (key[i] >= 'a' && key[i] <= 'z' || key[i] == '_') {
		i++
	}
	n, rest, ok = number3(key[i:], mark)
	return key[:i], n, rest, ok && i > 0
}

// number3 reads up to three digits and a mark.
func number3(s string, mark byte) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && i < 4 && s[i] >= '0' && s[i] <= '9' {
		n = 10*n + int(s[i]-'0')
		i++
	}
	if i == 0 || i > 3 || i == len(s) || s[i] != mark {
		return 0, "", false
	}
	return n, s[i+1:], true
}

// indices returns the numbers N of the devices prefixN that are present.
func (r *reader) indices(prefix string) []int {
	var found []int
	for key := range r.left {
		class, n, rest, ok := device(key, '.')
		if !ok || class != prefix || rest != "present" {
			continue
		}
		if key != fmt.Sprintf("%s%d.present", prefix, n) {
			r.vm.Problem("%s: number with a leading zero", key)
			continue
		}
		if inventory.Truth(r.left[key]) {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return found
}

// drop forgets all keys of a device that is not there, or is done with.
func (r *reader) drop(prefix string, suffixes ...string) {
	for _, s := range suffixes {
		delete(r.left, prefix+s)
	}
}

func (r *reader) nics() {
	for _, i := range r.indices("ethernet") {
		p := fmt.Sprintf("ethernet%d.", i)
		n := inventory.NIC{
			Key: int32(4000 + i), Index: i, Model: r.nicModel(p), PortGroup: r.take(p + "networkname"),
			StartConnected: r.connected(p), WakeOnLAN: r.yes(p + "wakeonpcktrcv"), PCISlot: r.count(p+"pcislotnumber", 0, -1),
		}
		n.PCISlot = max(0, n.PCISlot)
		n.Distributed = cmp.Or(r.take(p+"dvs.portgroupid"), r.take(p+"opaquenetwork.id"))
		if n.Distributed != "" {
			n.PortGroup, n.NetworkName = "", n.PortGroup
		}
		n.MAC, n.MACType = r.mac(p)
		r.vm.NICs = append(r.vm.NICs, n)
		r.drop(p, "present", "generatedaddressoffset", "connectiontype", "vnet", "linkstatepropagation.enable", "dvs.switchid",
			"dvs.portid", "dvs.connectionid", "opaquenetwork.type", "features", "allowguestconnectioncontrol", "uptcompatibility")
	}
	r.dropAbsent("ethernet")
}

func (r *reader) nicModel(p string) string {
	model := strings.ToLower(r.take(p + "virtualdev"))
	switch model {
	case "vlance":
		return "pcnet32"
	case "vmxnet":
		return "vmxnet2"
	case "":
		// VMware's default depends on the guest: the first e1000 is for 64 bits.
		if strings.Contains(r.vm.GuestID, "64") {
			return "e1000"
		}
		return "pcnet32"
	}
	return model
}

// mac returns the address that the NIC has: a static one is in address, any
// other in generatedAddress.
func (r *reader) mac(p string) (mac, kind string) {
	static, made := strings.ToLower(r.take(p+"address")), strings.ToLower(r.take(p+"generatedaddress"))
	switch kind = strings.ToLower(r.take(p + "addresstype")); kind {
	case "static":
		return static, "manual"
	case "vpx":
		return cmp.Or(made, static), "assigned"
	case "", "generated":
		if made == "" && static != "" && kind == "" {
			return static, "manual"
		}
		return made, "generated"
	}
	return cmp.Or(static, made), kind
}

func (r *reader) ports() {
	for _, i := range r.indices("serial") {
		r.vm.SerialPorts = append(r.vm.SerialPorts, r.port(fmt.Sprintf("serial%d.", i), i))
	}
	for _, i := range r.indices("parallel") {
		r.vm.Parallel = append(r.vm.Parallel, r.port(fmt.Sprintf("parallel%d.", i), i))
	}
	floppies := r.indices("floppy")
	if _, told := r.left["floppy0.present"]; !told { // the first is there unless the file says otherwise
		floppies = append([]int{0}, floppies...)
	}
	for _, i := range floppies {
		p := fmt.Sprintf("floppy%d.", i)
		f := inventory.Floppy{Image: r.take(p + "filename"), StartConnected: r.connected(p)}
		if inventory.NoMedium(f.Image) {
			f.Image = ""
		}
		if f.Image != "" && strings.EqualFold(r.left[p+"filetype"], "file") {
			f.Image = r.vm.Beside(f.Image)
		}
		r.vm.Floppies = append(r.vm.Floppies, f)
		r.drop(p, "present", "filetype", "clientdevice", "allowguestconnectioncontrol")
	}
	for _, kind := range []string{"serial", "parallel", "floppy"} {
		r.dropAbsent(kind)
	}
}

func (r *reader) port(p string, index int) inventory.Port {
	port := inventory.Port{
		Index: index, Backing: strings.ToLower(r.take(p + "filetype")), Target: inventory.WithoutPassword(r.take(p + "filename")), StartConnected: r.connected(p),
	}
	switch port.Backing {
	case "":
		port.Backing = "device"
	case "file":
		port.Target = r.vm.Beside(port.Target)
	case "network":
		port.Direction = strings.ToLower(r.take(p + "network.endpoint"))
	}
	r.drop(p, "present", "yieldonmsrread", "pipe.endpoint", "network.endpoint", "trynorxloss", "allowguestconnectioncontrol", "autodetect", "bidirectional")
	return port
}

// dropAbsent forgets devices of a kind that say that they are not present.
func (r *reader) dropAbsent(kind string) {
	r.dropAll(func(key string) (string, bool) {
		class, _, rest, ok := device(key, '.')
		return key[:len(key)-len(rest)], ok && class == kind
	})
}

// dropAll forgets all keys of the devices that aren't present; prefix returns
// what the keys of a key's device begin with.
func (r *reader) dropAll(prefix func(key string) (string, bool)) {
	var gone []string
	for key := range r.left {
		p, ok := prefix(key)
		if !ok {
			continue
		}
		if v, told := r.left[p+"present"]; told && !inventory.Truth(v) {
			gone = append(gone, key)
		}
	}
	for _, key := range gone {
		delete(r.left, key)
	}
}

func (r *reader) extras() {
	vm := r.vm
	if r.yes("usb.present") {
		if r.yes("ehci.present") {
			vm.USB = append(vm.USB, "ehci")
		} else {
			vm.USB = append(vm.USB, "uhci")
		}
	}
	if r.yes("usb_xhci.present") {
		vm.USB = append(vm.USB, "xhci")
	}
	delete(r.left, "ehci.present")
	for key := range r.left {
		if strings.HasPrefix(key, "usb.autoconnect.device") {
			if device := r.take(key); device != "" {
				vm.USBDevices = append(vm.USBDevices, device)
			}
		}
	}
	slices.Sort(vm.USBDevices)
	r.passthrough()
	r.nvdimms()
	if r.yes("sound.present") {
		vm.Sound = cmp.Or(strings.ToLower(r.take("sound.virtualdev")), "es1371")
	}
	vm.Video = inventory.Video{
		RAMKiB: r.number("svga.vramsize", 0, 0) >> 10, Displays: r.count("svga.numdisplays", 0, 0), ThreeD: r.yes("mks.enable3d"),
	}
}

// passthrough takes the host's own PCI devices: those with a MAC address are
// NICs, virtual functions of an adapter.
func (r *reader) passthrough() {
	vm, next := r.vm, 0
	for _, n := range vm.NICs {
		next = max(next, n.Index+1)
	}
	for _, i := range r.indices("pcipassthru") {
		p := fmt.Sprintf("pcipassthru%d.", i)
		name, vgpu := r.take(p+"id"), r.take(p+"vgpu")
		if mac := strings.ToLower(r.take(p + "macaddress")); mac != "" {
			vm.NICs = append(vm.NICs, inventory.NIC{
				Key: int32(13000 + i), Index: next, Model: "sriov", MAC: mac, MACType: macType(r.take(p + "macaddresstype")), PortGroup: r.take(p + "networkname"),
				StartConnected: r.connected(p), PCISlot: max(0, r.count(p+"pcislotnumber", 0, -1)),
			})
			next++
			r.drop(p, "present", "deviceid", "vendorid", "systemid", "virtualdev", "pfid", "generatedmacaddress", "generatedmacaddressoffset", "dvs.connectionid", "dvs.portid", "dvs.switchid")
			continue
		}
		if vgpu != "" {
			name = "vGPU " + vgpu
		}
		vm.Passthrough = append(vm.Passthrough, cmp.Or(name, fmt.Sprintf("pciPassthru%d", i)))
		r.drop(p, "present", "deviceid", "vendorid", "systemid", "virtualdev")
	}
}

// macType is the API's word for a .vmx's type of address.
func macType(kind string) string {
	switch kind = strings.ToLower(kind); kind {
	case "static":
		return "manual"
	case "vpx":
		return "assigned"
	case "":
		return "generated"
	}
	return kind
}

// nvdimms takes the modules of the one controller that there is.
func (r *reader) nvdimms() {
	if !r.yes("nvdimm0.present") {
		return
	}
	const units = 64
	for unit := range units {
		p := fmt.Sprintf("nvdimm0:%d.", unit)
		if !r.yes(p + "present") {
			continue
		}
		n := inventory.NVDIMM{Unit: unit, Capacity: r.number(p+"size", 0, 0)}
		if n.Capacity < 1<<43 { // the size is in MiB
			n.Capacity <<= 20
		}
		if file := r.take(p + "filename"); file != "" {
			n.Path = r.vm.Beside(file)
		}
		r.vm.NVDIMMs = append(r.vm.NVDIMMs, n)
		r.drop(p, "node")
	}
}
