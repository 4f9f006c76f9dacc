package virt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"

	"esxodus/convert/domain"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// Info is a domain that libvirt knows.
type Info struct {
	Name       string   `json:"name"`
	UUID       string   `json:"uuid"`
	Active     bool     `json:"active"`
	Persistent bool     `json:"persistent"`
	AutoStart  bool     `json:"autoStart"`
	Run        string   `json:"run,omitempty"`   // id of the run that defined it, "" if esxodus did not
	MACs       []string `json:"macs,omitempty"`  // as libvirt writes them, in the order of its NICs
	Disks      []string `json:"disks,omitempty"` // paths of files and devices
	XML        string   `json:"-"`               // inactive where it is persistent
}

// Lookup finds a domain by its name.
func (c *Conn) Lookup(ctx context.Context, name string) (Info, bool, error) {
	return c.find(ctx, "domain "+name, func() (*libvirt.Domain, error) { return c.lv.LookupDomainByName(name) })
}

// LookupUUID finds a domain by its UUID.
func (c *Conn) LookupUUID(ctx context.Context, uuid string) (Info, bool, error) {
	return c.find(ctx, "domain "+uuid, func() (*libvirt.Domain, error) { return c.lv.LookupDomainByUUIDString(uuid) })
}

func (c *Conn) find(ctx context.Context, what string, lookup func() (*libvirt.Domain, error)) (Info, bool, error) {
	if ctx.Err() != nil {
		return Info{}, false, context.Cause(ctx)
	}
	dom, err := lookup()
	if is(err, libvirt.ERR_NO_DOMAIN) {
		return Info{}, false, nil
	}
	if err != nil {
		return Info{}, false, explain(what, err)
	}
	info, err := describe(dom)
	err = errors.Join(err, dom.Free())
	if is(err, libvirt.ERR_NO_DOMAIN) { // it went away as we looked
		return Info{}, false, nil
	}
	return info, err == nil, explain(what, err)
}

// Domains lists every domain of the host, active or not, for checks of what
// names, UUIDs, MACs and disks are taken.
func (c *Conn) Domains(ctx context.Context) ([]Info, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	doms, err := c.lv.ListAllDomains(0)
	if err != nil {
		return nil, explain("domains of "+c.uri, err)
	}
	infos := make([]Info, 0, len(doms))
	for i := range doms {
		info, e := describe(&doms[i])
		if !is(e, libvirt.ERR_NO_DOMAIN) {
			err = errors.Join(err, explain("domains of "+c.uri, e))
			infos = append(infos, info)
		}
		err = errors.Join(err, doms[i].Free())
	}
	if ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return infos, err
}

// describe reads a domain.
func describe(dom *libvirt.Domain) (info Info, err error) {
	if info.Persistent, err = dom.IsPersistent(); err != nil {
		return info, err
	}
	if info.Active, err = dom.IsActive(); err != nil {
		return info, err
	}
	var flags libvirt.DomainXMLFlags
	if info.Persistent {
		flags = libvirt.DOMAIN_XML_INACTIVE
		if info.AutoStart, err = dom.GetAutostart(); err != nil {
			return info, err
		}
	}
	if info.XML, err = dom.GetXMLDesc(flags); err != nil {
		return info, err
	}
	d, err := parse(info.XML)
	if err != nil {
		return info, err
	}
	info.Name, info.UUID, info.Run = d.Name, d.UUID, runOf(d)
	for _, n := range nics(d) {
		if n.MAC != nil {
			info.MACs = append(info.MACs, n.MAC.Address)
		}
	}
	for _, disk := range disks(d) {
		if p := domain.SourcePath(disk.Source); p != "" {
			info.Disks = append(info.Disks, p)
		}
	}
	return info, nil
}

func parse(doc string) (*libvirtxml.Domain, error) {
	var d libvirtxml.Domain
	if err := d.Unmarshal(doc); err != nil {
		return nil, fmt.Errorf("domain XML: %w", err)
	}
	return &d, nil
}

func nics(d *libvirtxml.Domain) []libvirtxml.DomainInterface {
	if d.Devices == nil {
		return nil
	}
	return d.Devices.Interfaces
}

func disks(d *libvirtxml.Domain) []libvirtxml.DomainDisk {
	if d.Devices == nil {
		return nil
	}
	return d.Devices.Disks
}

// runOf returns the id of the run that a domain's metadata names, or "":
// <esxodus:run xmlns:esxodus="https://esxodus/1" id="RUN"/>.
func runOf(d *libvirtxml.Domain) string {
	if d.Metadata == nil {
		return ""
	}
	var m struct {
		Run []struct {
			ID string `xml:"id,attr"`
		} `xml:"https://esxodus/1 run"`
	}
	// What others keep in there need not concern us.
	if xml.Unmarshal([]byte("<metadata>"+d.Metadata.XML+"</metadata>"), &m) != nil || len(m.Run) != 1 {
		return ""
	}
	return m.Run[0].ID
}

// Define defines a domain that is persistent and not running, and checks with
// libvirt that it has become so. The XML must carry run, and a domain with
// its name or UUID that doesn't is never replaced. Doing it again is fine.
func (c *Conn) Define(ctx context.Context, doc string, autostart bool, run string) error {
	want, err := parse(doc)
	if err != nil {
		return err
	}
	if got := runOf(want); got != run || run == "" {
		return fmt.Errorf("domain %s: its XML is marked with run %q, want %q", want.Name, got, run)
	}
	if err := c.mayDefine(ctx, want, run); err != nil {
		return err
	}
	c.schema.Lock()
	dom, err := c.lv.DomainDefineXMLFlags(doc, libvirt.DOMAIN_DEFINE_VALIDATE)
	c.schema.Unlock()
	if err != nil {
		return explain("defining "+want.Name, err)
	}
	err = explain("autostart of "+want.Name, dom.SetAutostart(autostart))
	if err := errors.Join(err, dom.Free()); err != nil {
		return err
	}
	got, ok, err := c.Lookup(ctx, want.Name)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("domain %s: libvirt accepted it, but doesn't have it: has another program undefined it?", want.Name)
	}
	return verify(want, got, autostart)
}

// mayDefine says no where defining would replace another's domain.
func (c *Conn) mayDefine(ctx context.Context, want *libvirtxml.Domain, run string) error {
	old, ok, err := c.Lookup(ctx, want.Name)
	if err != nil {
		return err
	}
	if ok && old.Run != run {
		return fmt.Errorf("domain %s exists already (UUID %s), and this run did not define it: choose another name, or undefine it", old.Name, old.UUID)
	}
	if ok && old.Active {
		return fmt.Errorf("domain %s is running: shut it down first", old.Name)
	}
	if want.UUID == "" {
		return fmt.Errorf("domain %s: its XML has no UUID", want.Name)
	}
	old, ok, err = c.LookupUUID(ctx, want.UUID)
	if err != nil {
		return err
	}
	if ok && (old.Run != run || old.Name != want.Name) {
		return fmt.Errorf("domain %s has the UUID %s already: it may be this VM, migrated before; undefine it, or leave this VM out", old.Name, want.UUID)
	}
	return nil
}

// Undefine undefines a domain that a run has defined, with its NVRAM, TPM
// state, managed save and metadata of snapshots. A domain that is not there,
// or not of that run, is not an error and stays; one that runs is an error.
func (c *Conn) Undefine(ctx context.Context, name, run string) error {
	info, ok, err := c.Lookup(ctx, name)
	if err != nil || !ok || info.Run != run || run == "" {
		return err
	}
	if info.Active {
		return fmt.Errorf("domain %s is running: shut it down, then try again", name)
	}
	dom, err := c.lv.LookupDomainByUUIDString(info.UUID)
	if is(err, libvirt.ERR_NO_DOMAIN) {
		return nil
	}
	if err != nil {
		return explain("domain "+name, err)
	}
	err = explain("undefining "+name, undefine(dom))
	return errors.Join(err, dom.Free())
}

// undefine takes away all that libvirt keeps of a domain. Libvirt before 8.9
// has no flag for the TPM, some drivers have fewer.
func undefine(dom *libvirt.Domain) error {
	const (
		saves = libvirt.DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
		marks = saves | libvirt.DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
		nvram = marks | libvirt.DOMAIN_UNDEFINE_NVRAM
		tpm   = nvram | libvirt.DOMAIN_UNDEFINE_TPM
	)
	var err error
	for _, flags := range []libvirt.DomainUndefineFlagsValues{tpm, nvram, marks, saves} {
		err = dom.UndefineFlags(flags)
		if !is(err, libvirt.ERR_INVALID_ARG) && !is(err, libvirt.ERR_ARGUMENT_UNSUPPORTED) {
			break
		}
	}
	if is(err, libvirt.ERR_NO_DOMAIN) {
		return nil
	}
	return err
}
