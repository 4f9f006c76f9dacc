package virt

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// arch is the only architecture that ESXi's x86 guests run on.
const arch = "x86_64"

// Caps is what this host can run.
type Caps struct {
	VirtTypes  []string `json:"virtTypes"`         // of domains: kvm and qemu, the better first
	HostCPU    string   `json:"hostCPU,omitempty"` // libvirt's name of the model
	CPUs       int      `json:"cpus"`              // threads
	MHz        int      `json:"mhz"`               // of one; 0 if unknown
	Memory     int64    `json:"memory"`            // bytes
	Machines   []string `json:"machines"`          // q35, pc, pc-q35-7.2 …, sorted
	EFI        bool     `json:"efi"`               // OVMF is installed
	SecureBoot bool     `json:"secureBoot"`        // and has a build with secure boot
	TPM        bool     `json:"tpm"`               // an emulated TPM 2.0 (swtpm) is available
	Libvirt    string   `json:"libvirt"`           // version of the daemon: "9.0.0"
}

// Capabilities asks libvirt what this host can run.
func (c *Conn) Capabilities(ctx context.Context) (Caps, error) {
	var caps Caps
	if ctx.Err() != nil {
		return caps, context.Cause(ctx)
	}
	if err := c.node(&caps); err != nil {
		return caps, err
	}
	doc, err := c.lv.GetCapabilities()
	if err != nil {
		return caps, explain("capabilities of "+c.uri, err)
	}
	var all libvirtxml.Caps
	if err := all.Unmarshal(doc); err != nil {
		return caps, fmt.Errorf("capabilities of %s: %w", c.uri, err)
	}
	if all.Host.CPU != nil {
		caps.HostCPU = all.Host.CPU.Model
	}
	for _, g := range all.Guests {
		if g.OSType == "hvm" && g.Arch.Name == arch {
			caps.guest(g)
		}
	}
	if len(caps.VirtTypes) == 0 {
		return caps, fmt.Errorf("libvirt at %s runs no %s guests: install qemu-system-x86", c.uri, arch)
	}
	if ctx.Err() != nil {
		return caps, context.Cause(ctx)
	}
	return caps, c.firmware(&caps)
}

// node fills in what the host is made of.
func (c *Conn) node(caps *Caps) error {
	info, err := c.lv.GetNodeInfo()
	if err != nil {
		return explain("hardware of "+c.uri, err)
	}
	caps.CPUs, caps.MHz, caps.Memory = int(info.Cpus), int(info.MHz), int64(info.Memory)<<10 // of this machine
	v, err := c.lv.GetLibVersion()
	if err != nil {
		return explain("version of "+c.uri, err)
	}
	caps.Libvirt = fmt.Sprintf("%d.%d.%d", v/1e6, v/1e3%1e3, v%1e3)
	return nil
}

func (caps *Caps) guest(g libvirtxml.CapsGuest) {
	for _, d := range g.Arch.Domains {
		caps.VirtTypes = append(caps.VirtTypes, d.Type)
		for _, m := range d.Machines {
			caps.Machines = append(caps.Machines, m.Name)
		}
	}
	for _, m := range g.Arch.Machines {
		caps.Machines = append(caps.Machines, m.Name)
	}
	slices.Sort(caps.VirtTypes) // "kvm" < "qemu"
	slices.Sort(caps.Machines)
	caps.VirtTypes, caps.Machines = slices.Compact(caps.VirtTypes), slices.Compact(caps.Machines)
}

// domainCaps is the part of libvirt's domain capabilities about firmware and
// TPM; libvirtxml has no TPM.
type domainCaps struct {
	OS struct {
		Firmware []capsEnum `xml:"enum"`
		Loader   struct {
			Values []string   `xml:"value"`
			Enums  []capsEnum `xml:"enum"`
		} `xml:"loader"`
	} `xml:"os"`
	TPM struct {
		Supported string     `xml:"supported,attr"`
		Enums     []capsEnum `xml:"enum"`
	} `xml:"devices>tpm"`
}

type capsEnum struct {
	Name   string   `xml:"name,attr"`
	Values []string `xml:"value"`
}

func has(enums []capsEnum, name, value string) bool {
	return slices.ContainsFunc(enums, func(e capsEnum) bool { return e.Name == name && slices.Contains(e.Values, value) })
}

// firmware fills in what the machine that EFI guests get can be built with.
func (c *Conn) firmware(caps *Caps) error {
	doc, err := c.lv.GetDomainCapabilities("", arch, "q35", caps.VirtTypes[0], 0)
	if is(err, libvirt.ERR_NO_SUPPORT) || is(err, libvirt.ERR_INVALID_ARG) {
		return nil // the test driver, and a QEMU without q35: neither has EFI
	}
	if err != nil {
		return explain("domain capabilities of "+c.uri, err)
	}
	var d domainCaps
	if err := xml.Unmarshal([]byte(doc), &d); err != nil {
		return fmt.Errorf("domain capabilities of %s: %w", c.uri, err)
	}
	caps.EFI = has(d.OS.Firmware, "firmware", "efi") && len(d.OS.Loader.Values) > 0
	caps.SecureBoot = caps.EFI && has(d.OS.Loader.Enums, "secure", "yes") &&
		slices.ContainsFunc(d.OS.Loader.Values, func(path string) bool {
			return strings.Contains(path, "secboot") || strings.Contains(path, ".ms.")
		})
	caps.TPM = d.TPM.Supported == "yes" && has(d.TPM.Enums, "backendModel", "emulator") && has(d.TPM.Enums, "backendVersion", "2.0")
	return nil
}
