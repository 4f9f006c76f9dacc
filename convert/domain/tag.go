package domain

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// The namespaces of what esxodus keeps in <metadata>.
const (
	runNamespace    = "https://esxodus/1"
	sourceNamespace = "https://esxodus/source/1"
)

// Tag returns the domain XML text with a mark that says which run made the
// domain: <esxodus:run xmlns:esxodus="https://esxodus/1" id="…"/> in
// <metadata>. An earlier mark is replaced, other metadata is kept.
func Tag(text, runID string) (string, error) {
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(text); err != nil {
		return "", fmt.Errorf("domain XML: %w", err)
	}
	if dom.Metadata == nil {
		dom.Metadata = &libvirtxml.DomainMetadata{}
	}
	rest, err := withoutRun(dom.Metadata.XML)
	if err != nil {
		return "", fmt.Errorf("domain XML's metadata: %w", err)
	}
	dom.Metadata.XML = rest + `<esxodus:run xmlns:esxodus="` + runNamespace + `" id="` + escape(runID) + `"/>`
	tagged, err := dom.Marshal()
	if err != nil {
		return "", fmt.Errorf("domain XML: %w", err)
	}
	return tagged, nil
}

func isRun(e xml.StartElement) bool { return e.Name.Space == runNamespace && e.Name.Local == "run" }

// withoutRun cuts the run's elements out of inner XML.
func withoutRun(inner string) (string, error) {
	var kept strings.Builder
	last := int64(0)
	err := eachElement(inner, func(e xml.StartElement, from, to int64) {
		if isRun(e) {
			kept.WriteString(inner[last:from])
			last = to
		}
	})
	kept.WriteString(inner[last:])
	return kept.String(), err
}

// eachElement calls do with each top-level element of inner XML and the bytes
// [from, to) that it takes.
func eachElement(inner string, do func(e xml.StartElement, from, to int64)) error {
	d := xml.NewDecoder(strings.NewReader(inner))
	for {
		from := d.InputOffset()
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		if err := d.Skip(); err != nil {
			return err
		}
		do(e, from, d.InputOffset())
	}
}

// prefixed writes s as XML with a namespace prefix, without which libvirt
// drops an element; encoding/xml can't write one.
func prefixed(s source) string {
	var w strings.Builder
	fmt.Fprintf(&w, `<source:vm xmlns:source="%s"`, sourceNamespace)
	for _, a := range []struct{ name, value string }{{"host", s.Host}, {"id", s.ID}, {"name", s.Name}, {"path", s.Path}} {
		if a.value != "" {
			fmt.Fprintf(&w, ` %s="%s"`, a.name, escape(a.value))
		}
	}
	if s.Start == nil {
		w.WriteString("/>")
		return w.String()
	}
	fmt.Fprintf(&w, `><source:autostart order="%d" start-delay="%d" stop-delay="%d" stop-action="%s"/></source:vm>`,
		s.Start.Order, s.Start.StartDelay, s.Start.StopDelay, escape(s.Start.StopAction))
	return w.String()
}

// escape makes s fit for XML text and attributes; what XML can't hold becomes
// U+FFFD.
func escape(s string) string {
	var w strings.Builder
	_ = xml.EscapeText(&w, []byte(s)) // a strings.Builder takes everything
	return w.String()
}
