package virt

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"esxodus/convert/domain"

	"libvirt.org/go/libvirtxml"
)

// verify compares what libvirt has with what it was asked for: what libvirt
// drops or changes must show before the first start.
func verify(want *libvirtxml.Domain, info Info, autostart bool) error {
	differs, err := differences(want, info)
	if err != nil {
		return err
	}
	d := differing{list: differs}
	d.add("persistent", info.Persistent, true)
	d.add("active", info.Active, false)
	d.add("autostart", info.AutoStart, autostart)
	errs := make([]error, len(d.list))
	for i, text := range d.list {
		errs[i] = fmt.Errorf("domain %s: libvirt has %s", info.Name, text)
	}
	return errors.Join(errs...)
}

// Compare returns what libvirt has of a domain, and how that differs from its XML.
func (c *Conn) Compare(ctx context.Context, doc string) (made string, differs []string, err error) {
	want, err := parse(doc)
	if err != nil {
		return "", nil, err
	}
	info, ok, err := c.Lookup(ctx, want.Name)
	switch {
	case err != nil:
		return "", nil, err
	case !ok:
		return "", []string{"libvirt has no domain of that name"}, nil
	}
	differs, err = differences(want, info)
	return info.XML, differs, err
}

// differing collects differences.
type differing struct{ list []string }

func (d *differing) add(what string, got, want any) {
	if got != want {
		d.list = append(d.list, fmt.Sprintf("%s %v, want %v", what, got, want))
	}
}

// differences are those of a domain from its XML.
func differences(want *libvirtxml.Domain, info Info) ([]string, error) {
	got, err := parse(info.XML)
	if err != nil {
		return nil, err
	}
	var d differing
	d.add("UUID", strings.ToLower(got.UUID), strings.ToLower(want.UUID))
	d.add("run", runOf(got), runOf(want))
	d.add("type", got.Type, want.Type)
	d.add("memory", memory(got), memory(want))
	d.add("vCPUs", vcpus(got), vcpus(want))
	d.add("number of disks", len(disks(got)), len(disks(want)))
	d.add("number of NICs", len(nics(got)), len(nics(want)))
	if len(d.list) > 0 {
		return d.list, nil
	}
	for i, one := range disks(want) {
		d.add(fmt.Sprintf("disk %d", i), diskLine(disks(got)[i]), diskLine(one))
	}
	for i, n := range nics(want) {
		d.add(fmt.Sprintf("NIC %d", i), nicLine(nics(got)[i]), nicLine(n))
	}
	return d.list, nil
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
