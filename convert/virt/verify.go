package virt

import (
	"errors"
	"fmt"
	"strings"

	"esxodus/convert/domain"

	"libvirt.org/go/libvirtxml"
)

// verify compares what libvirt has with what it was asked for: what libvirt
// drops or changes must show before the first start.
func verify(want *libvirtxml.Domain, info Info, autostart bool) error {
	got, err := parse(info.XML)
	if err != nil {
		return err
	}
	var errs []error
	differ := func(what string, got, want any) {
		if got != want {
			errs = append(errs, fmt.Errorf("domain %s: libvirt has %s %v, want %v", info.Name, what, got, want))
		}
	}
	differ("persistent", info.Persistent, true)
	differ("active", info.Active, false)
	differ("autostart", info.AutoStart, autostart)
	differ("UUID", strings.ToLower(got.UUID), strings.ToLower(want.UUID))
	differ("run", runOf(got), runOf(want))
	differ("type", got.Type, want.Type)
	differ("memory", memory(got), memory(want))
	differ("vCPUs", vcpus(got), vcpus(want))
	differ("number of disks", len(disks(got)), len(disks(want)))
	differ("number of NICs", len(nics(got)), len(nics(want)))
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for i, d := range disks(want) {
		differ(fmt.Sprintf("disk %d", i), diskLine(disks(got)[i]), diskLine(d))
	}
	for i, n := range nics(want) {
		differ(fmt.Sprintf("NIC %d", i), nicLine(nics(got)[i]), nicLine(n))
	}
	return errors.Join(errs...)
}

// memory returns bytes; 0 if it isn't said.
func memory(d *libvirtxml.Domain) uint64 {
	if d.Memory == nil {
		return 0
	}
	unit := uint64(1 << 10) // libvirt's default is KiB
	switch d.Memory.Unit {
	case "b", "bytes":
		unit = 1
	case "M", "MiB":
		unit = 1 << 20
	case "G", "GiB":
		unit = 1 << 30
	}
	return uint64(d.Memory.Value) * unit
}

func vcpus(d *libvirtxml.Domain) uint {
	if d.VCPU == nil {
		return 1
	}
	return d.VCPU.Value
}

// diskLine is the part of a disk that must arrive, for comparison and for people.
func diskLine(d libvirtxml.DomainDisk) string {
	words := []string{orElse(d.Device, "disk")}
	if d.Target != nil {
		words = append(words, d.Target.Bus, d.Target.Dev)
	}
	if p := domain.SourcePath(d.Source); p != "" {
		words = append(words, p)
	}
	if d.Driver != nil && d.Driver.Type != "" {
		words = append(words, d.Driver.Type)
	}
	if d.Serial != "" {
		words = append(words, "serial="+d.Serial)
	}
	if d.ReadOnly != nil || d.Device == "cdrom" {
		words = append(words, "readonly")
	}
	return strings.Join(words, " ")
}

// nicLine is the part of a NIC that must arrive.
func nicLine(n libvirtxml.DomainInterface) string {
	var words []string
	if n.MAC != nil {
		words = append(words, strings.ToLower(n.MAC.Address))
	}
	if n.Model != nil {
		words = append(words, n.Model.Type)
	}
	if s := n.Source; s != nil {
		switch {
		case s.Direct != nil:
			words = append(words, "direct", s.Direct.Dev, s.Direct.Mode)
		case s.Bridge != nil:
			words = append(words, "bridge", s.Bridge.Bridge)
		case s.Network != nil:
			words = append(words, "network", s.Network.Network)
		}
	}
	if n.Link != nil && n.Link.State != "up" {
		words = append(words, "link="+n.Link.State)
	}
	return strings.Join(words, " ")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
