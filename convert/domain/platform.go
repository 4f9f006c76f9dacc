package domain

import (
	"fmt"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// platform sets the machine, the firmware and the features of both.
func (b *builder) platform() {
	vm, all := b.vm, b.of("")
	b.pci.machine = q35
	if b.sys.legacy && !b.efi() {
		b.pci.machine = pc
	}
	b.dom.OS = &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Arch: "x86_64", Machine: b.pci.machine, Type: "hvm"}}
	if b.dom.SysInfo != nil {
		b.dom.OS.SMBios = &libvirtxml.DomainSMBios{Mode: "sysinfo"}
	}
	all.changed("hardwareVersion", vm.HardwareVersion, b.pci.machine, b.machineReason())
	if vm.HardwareVersion != 0 && (vm.HardwareVersion < 4 || vm.HardwareVersion > 22) {
		b.concern(ConcernHardware, ledger.Note, "", fmt.Sprintf("virtual hardware version %d isn't known to esxodus", vm.HardwareVersion),
			"compare the ledger with the VM's settings on the host")
	}
	b.dom.Features = &libvirtxml.DomainFeatureList{
		ACPI: &libvirtxml.DomainFeature{},
		APIC: &libvirtxml.DomainFeatureAPIC{},
		// Without VMware's I/O port, VMware Tools see that they aren't on VMware.
		VMPort: &libvirtxml.DomainFeatureState{State: "off"},
	}
	b.firmware()
	b.hyperV()
	b.dom.OnPoweroff, b.dom.OnReboot, b.dom.OnCrash = "destroy", "restart", "destroy"
	b.dom.PM = &libvirtxml.DomainPM{
		SuspendToMem:  &libvirtxml.DomainPMPolicy{Enabled: "no"},
		SuspendToDisk: &libvirtxml.DomainPMPolicy{Enabled: "no"},
	}
}

func (b *builder) machineReason() string {
	if b.pci.machine == pc {
		return b.sys.from + " is older than AHCI: a 440FX machine with IDE"
	}
	return "QEMU's current chipset, with AHCI and PCI Express"
}

// efi reports whether the domain starts through UEFI.
func (b *builder) efi() bool { return b.vm.Firmware == inventory.EFI && !b.o.BIOS }

// firmware leaves the choice of the file to libvirt: by kind and features, so
// that the domain runs wherever such a firmware is installed.
func (b *builder) firmware() {
	vm, all := b.vm, b.of("")
	if !b.efi() {
		if vm.Firmware == inventory.EFI {
			all.changed("firmware", vm.Firmware, "bios (SeaBIOS)", "a disk without partitions has no EFI system partition: it boots by LILO")
		} else {
			all.mapped("firmware", vm.Firmware, "bios (SeaBIOS)")
		}
		all.dropped("secureBoot", vm.SecureBoot, "BIOS has none")
		all.dropped("nvram", vm.NVRAM, "BIOS settings; only the boot order is carried over")
		return
	}
	secure := "no"
	if vm.SecureBoot {
		secure = "yes"
		b.dom.Features.SMM = &libvirtxml.DomainFeatureSMM{State: "on"}
		b.concern(ConcernSecureBoot, ledger.Note, "", "secure boot is on",
			"the domain's firmware has Microsoft's keys enrolled; keys of your own, or a revocation list, must be enrolled again in its setup")
	}
	b.dom.OS.Firmware = "efi"
	b.dom.OS.FirmwareInfo = &libvirtxml.DomainOSFirmwareInfo{Features: []libvirtxml.DomainOSFirmwareFeature{
		{Enabled: secure, Name: "enrolled-keys"}, {Enabled: secure, Name: "secure-boot"},
	}}
	all.mapped("firmware", vm.Firmware, "efi (OVMF)")
	all.mapped("secureBoot", vm.SecureBoot, "secure-boot and enrolled-keys")
	all.dropped("nvram", vm.NVRAM, "its format is VMware's own; the firmware starts with new variables")
}

// hyperV gives Windows the hypervisor that it knows. They cost nothing and a
// Windows without them burns CPU in timers and spinlocks.
func (b *builder) hyperV() {
	if b.sys.family != windows || b.o.VirtType != "kvm" {
		return
	}
	on := func() *libvirtxml.DomainFeatureState { return &libvirtxml.DomainFeatureState{State: "on"} }
	b.dom.Features.HyperV = &libvirtxml.DomainFeatureHyperV{
		Mode:        "custom",
		Relaxed:     on(),
		VAPIC:       on(),
		Spinlocks:   &libvirtxml.DomainFeatureHyperVSpinlocks{DomainFeatureState: *on(), Retries: 8191},
		VPIndex:     on(),
		Runtime:     on(),
		Synic:       on(),
		STimer:      &libvirtxml.DomainFeatureHyperVSTimer{DomainFeatureState: *on()},
		Reset:       on(),
		Frequencies: on(),
	}
	if b.vm.CPU.Count > 1 { // one CPU has nobody to flush or interrupt
		b.dom.Features.HyperV.TLBFlush = &libvirtxml.DomainFeatureHyperVTLBFlush{DomainFeatureState: *on()}
		b.dom.Features.HyperV.IPI = on()
	}
}

// clock sets what the guest's real-time clock shows. VMware gives Windows
// local time and all others UTC, unless rtc.diffFromUTC says otherwise.
func (b *builder) clock() {
	vm, all := b.vm, b.of("")
	clock := &libvirtxml.DomainClock{Offset: "utc"}
	switch seconds, ok := clockOffset(vm.ClockOffset); {
	case ok && seconds != 0:
		clock.Offset, clock.Basis, clock.Adjustment = "variable", "utc", fmt.Sprint(seconds)
		all.mapped("clockOffset", vm.ClockOffset, fmt.Sprintf("UTC %+d s", seconds))
	case ok:
		all.add("clockOffset", "0 s", "utc", ledger.Mapped, "")
	case b.sys.family == windows:
		clock.Offset = "localtime"
		all.dropped("clockOffset", vm.ClockOffset, "is not a number of seconds; Windows gets the host's local time")
	default:
		all.dropped("clockOffset", vm.ClockOffset, "is not a number of seconds; the clock shows UTC")
	}
	clock.Timer = []libvirtxml.DomainTimer{
		{Name: "rtc", TickPolicy: "catchup"}, {Name: "pit", TickPolicy: "delay"}, {Name: "hpet", Present: "no"},
	}
	if b.dom.Features.HyperV != nil {
		clock.Timer = append(clock.Timer, libvirtxml.DomainTimer{Name: "hypervclock", Present: "yes"})
	}
	b.dom.Clock = clock
	all.dropped("syncTime", vm.SyncTime, "VMware Tools did that")
	if vm.SyncTime {
		b.concern(ConcernClock, ledger.Note, "", "VMware Tools set the guest's clock", "run chrony, systemd-timesyncd or w32time in the guest")
	}
}
