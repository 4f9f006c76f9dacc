package domain

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/ledger"
	"esxodus/inventory/fit"
)

// clockOffset parses rtc.diffFromUTC. More than two days is not a time zone.
func clockOffset(s string) (seconds int64, ok bool) {
	n, err := strconv.ParseInt(s, 10, 32)
	return n, err == nil && n > -2*86400 && n < 2*86400
}

// cpu sets the processors and their share of the host.
func (b *builder) cpu() {
	c, of := b.vm.CPU, b.of("cpu.")
	b.topology()
	if b.o.VirtType == "kvm" {
		b.dom.CPU.Mode, b.dom.CPU.Check = "host-model", "partial"
	} else {
		b.dom.CPU.Mode, b.dom.CPU.Check = "maximum", "none"
	}
	hot := "libvirt needs a maximum in advance, which the guest would see; set <vcpu current=…> if you want to use it"
	of.dropped("hotAdd", c.HotAdd, hot)
	of.dropped("hotRemove", c.HotRemove, hot)
	if c.HotAdd || c.HotRemove || b.vm.Memory.HotAdd {
		b.concern(ConcernHotAdd, ledger.Note, "", "CPU or memory may be added while the VM runs", "on the domain this needs a restart, or a maximum that you set by hand")
	}
	of.dropped("reservationMHz", c.ReservationMHz, "Linux guarantees no MHz; the host must have enough cores")
	of.dropped("affinity", c.Affinity, "names the ESXi host's own CPUs")
	if len(c.Affinity) > 0 {
		b.concern(ConcernAffinity, ledger.Warning, "", fmt.Sprintf("bound to the ESXi host's CPUs %v", c.Affinity), "if latency or a licence needs that, pin the domain with virsh vcpupin")
	}
	b.numa()
	of.dropped("masked", c.Masked, "the masks are for another hypervisor's CPU")
	if c.Masked {
		b.concern(ConcernMasked, ledger.Warning, "", "CPUID masks are set", "if software in the guest needs a feature to be hidden, add <feature policy='disable'> to the domain's <cpu>")
	}
	b.cpuLimit()
	b.cpuShares()
	b.nested()
}

// numa warns of what ties the VM to NUMA nodes: keys that no field holds, and
// extra drops. numa.autosize is ESXi's own reckoning, which nobody chose.
func (b *builder) numa() {
	var found []string
	for _, key := range slices.Sorted(maps.Keys(b.vm.Extra)) {
		affinity := strings.HasPrefix(key, "sched.") && strings.HasSuffix(key, "affinity")
		if affinity || strings.HasPrefix(key, "numa.") && !strings.HasPrefix(key, "numa.autosize") {
			found = append(found, key+" = "+b.vm.Extra[key])
		}
	}
	if len(found) > 0 {
		b.concern(ConcernNUMA, ledger.Warning, "", strings.Join(found, ", "),
			"the domain runs on any of this host's NUMA nodes, and the guest sees one: if latency or bandwidth matters, set <numatune>, virsh vcpupin and <numa> in <cpu> for this host's nodes (virsh capabilities)")
	}
}

// topology keeps the sockets that the guest and its licences count: four
// CPUs with two cores per socket are two sockets.
func (b *builder) topology() {
	c, of := b.vm.CPU, b.of("cpu.")
	cores, reason := c.CoresPerSocket, ""
	switch {
	case cores < 1:
		cores, reason = 1, "is not a number of cores"
	case c.Count%cores != 0:
		reason = fmt.Sprintf("%d CPUs don't fill whole sockets of %d cores; each CPU is a socket", c.Count, cores)
		b.concern(ConcernTopology, ledger.Warning, "", fit.Count(c.Count, "CPU")+", "+fit.Count(cores, "core")+" per socket",
			"the guest sees one core per socket; check licences that count sockets, or correct it on ESXi")
		cores = 1
	}
	b.dom.VCPU = &libvirtxml.DomainVCPU{Placement: "static", Value: uint(c.Count)}
	b.dom.CPU = &libvirtxml.DomainCPU{Topology: &libvirtxml.DomainCPUTopology{Sockets: c.Count / cores, Cores: cores, Threads: 1}}
	of.mapped("count", c.Count, "")
	target := fit.Count(c.Count/cores, "socket") + " x " + fit.Count(cores, "core")
	if reason == "" {
		of.mapped("coresPerSocket", c.CoresPerSocket, target)
	} else {
		of.add("coresPerSocket", fmt.Sprint("cores per socket ", c.CoresPerSocket), target, ledger.Changed, reason)
	}
	if c.Count > 255 {
		b.concern(ConcernCPUs, ledger.Blocker, "", fmt.Sprintf("%d CPUs", c.Count), "more than 255 need an IOMMU in the guest, which esxodus doesn't set up; remove some")
	}
}

// cpuPeriod is the length in microseconds in which a quota counts; the kernel's
// default.
const cpuPeriod = 100_000

// cpuLimit makes a bandwidth quota of a limit in MHz. VMware's limit is for
// the whole VM, so is global_quota: limit ÷ MHz of one core of the source is
// the number of cores it may keep busy, times the period.
func (b *builder) cpuLimit() {
	limit, of := b.vm.CPU.LimitMHz, b.of("cpu.")
	if limit <= 0 { // -1 for none; 0 where the source doesn't say
		return
	}
	if b.o.HostMHz <= 0 || limit > 1<<32 {
		of.dropped("limitMHz", limit, "the speed of the source host's CPU isn't known; set <global_quota> by hand")
		b.concern(ConcernCPULimit, ledger.Warning, "", fmt.Sprintf("limited to %d MHz", limit), "the domain has no limit; set one with virsh schedinfo if it needs one")
		return
	}
	quota := max(limit*cpuPeriod/b.o.HostMHz, 1000) // libvirt's least
	b.tune().GlobalPeriod = &libvirtxml.DomainCPUTunePeriod{Value: cpuPeriod}
	b.tune().GlobalQuota = &libvirtxml.DomainCPUTuneQuota{Value: quota}
	of.changed("limitMHz", limit, fmt.Sprintf("global_quota %d us of each %d us", quota, cpuPeriod),
		fmt.Sprintf("Linux limits time, not MHz: limit / %d MHz per core x period", b.o.HostMHz))
}

func (b *builder) tune() *libvirtxml.DomainCPUTune {
	if b.dom.CPUTune == nil {
		b.dom.CPUTune = &libvirtxml.DomainCPUTune{}
	}
	return b.dom.CPUTune
}

// cpuShares makes a control-group weight of shares. VMware's normal is 1000
// per CPU, a domain's normal weight is 100 (control groups v2): weight = 100 x
// shares / (1000 x CPUs). So high is twice, low half the weight of normal,
// which is left at the host's default.
func (b *builder) cpuShares() {
	c, of := b.vm.CPU, b.of("cpu.")
	if strings.EqualFold(c.SharesLevel, "normal") || c.Shares <= 0 || c.Shares == 1000*c.Count {
		of.mapped("shares", max(c.Shares, 0), "the default weight")
		of.mapped("sharesLevel", c.SharesLevel, "the default weight")
		return
	}
	weight := int(math.Round(100 * float64(c.Shares) / (1000 * float64(c.Count))))
	weight = min(max(weight, 2), 10_000) // what libvirt takes for either version of control groups
	b.tune().Shares = &libvirtxml.DomainCPUTuneShares{Value: uint(weight)}
	reason := "a weight relative to 100, the default of control groups v2: 100 x shares / (1000 x CPUs); on a host with v1, where the default is 1024, set about ten times as much"
	of.changed("shares", c.Shares, fmt.Sprintf("shares %d", weight), reason)
	of.changed("sharesLevel", c.SharesLevel, fmt.Sprintf("shares %d", weight), reason)
}

// nested says what becomes of hardware virtualisation for the guest.
func (b *builder) nested() {
	if !b.vm.NestedHV {
		return
	}
	all := b.of("")
	if b.o.VirtType != "kvm" {
		all.dropped("nestedHV", true, "an emulated CPU has none")
	} else {
		all.changed("nestedHV", true, "host-model", "the CPU has vmx or svm where this host's kvm module has nested=1")
	}
	b.concern(ConcernNested, ledger.Note, "", "the guest runs virtual machines of its own", "cat /sys/module/kvm_intel/parameters/nested (or kvm_amd) must say Y or 1")
}

// memory sets the size, and as much of reservation and limit as Linux has.
func (b *builder) memory() {
	m, of := b.vm.Memory, b.of("memory.")
	b.dom.Memory = &libvirtxml.DomainMemory{Value: uint(m.SizeMiB), Unit: "MiB"}
	b.dom.CurrentMemory = &libvirtxml.DomainCurrentMemory{Value: uint(m.SizeMiB), Unit: "MiB"}
	of.mapped("sizeMiB", m.SizeMiB, "")
	of.dropped("hotAdd", m.HotAdd, "libvirt needs a maximum and NUMA cells in advance; set <maxMemory> if you want to use it")
	if m.Locked || m.ReservationMiB >= m.SizeMiB {
		b.dom.MemoryBacking = &libvirtxml.DomainMemoryBacking{MemoryAllocation: &libvirtxml.DomainMemoryAllocation{Mode: "immediate"}}
		reason := "all of it is taken when the domain starts, which fails if there isn't enough; it can still be swapped"
		of.changed("reservationMiB", m.ReservationMiB, "allocation immediate", reason)
		of.changed("locked", m.Locked, "allocation immediate", reason)
	} else {
		of.dropped("reservationMiB", m.ReservationMiB, "libvirt's QEMU driver can't guarantee a part of the memory")
	}
	if m.LimitMiB > 0 && m.LimitMiB < m.SizeMiB {
		b.dom.MemoryTune = &libvirtxml.DomainMemoryTune{SoftLimit: &libvirtxml.DomainMemoryTuneLimit{Value: uint64(m.LimitMiB), Unit: "MiB"}}
		of.changed("limitMiB", m.LimitMiB, fmt.Sprintf("soft_limit %d MiB", m.LimitMiB), "a hard limit would have QEMU killed where VMware swaps")
		b.concern(ConcernMemoryLimit, ledger.Warning, "", fmt.Sprintf("limited to %d of %d MiB", m.LimitMiB, m.SizeMiB), "such a limit is mostly a leftover: remove it, or give the VM less memory")
	} else if m.LimitMiB > 0 {
		of.dropped("limitMiB", m.LimitMiB, "isn't less than the memory")
	}
	if !strings.EqualFold(m.SharesLevel, "normal") {
		of.dropped("shares", m.Shares, "libvirt has no weight for memory")
		of.dropped("sharesLevel", m.SharesLevel, "libvirt has no weight for memory")
		return
	}
	of.mapped("shares", m.Shares, "all domains are equal")
	of.mapped("sharesLevel", m.SharesLevel, "all domains are equal")
}
