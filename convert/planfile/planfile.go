// Package planfile writes plans to files and reads them back, as JSON and as
// YAML. A plan holds names and notes that people and guests chose: whatever
// characters are in them, the file can be read, and what is read is what was
// written.
//
// A plan of a thousand VMs is written one VM at a time, so that memory is
// bounded by the largest VM.
package planfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"esxodus/convert/plan"

	"sigs.k8s.io/yaml"
)

// vms is the plan's field that is written one by one.
const vms = "vms"

// WriteYAML writes p in the form that people edit.
func WriteYAML(w io.Writer, p *plan.Plan) error {
	out := bufio.NewWriter(w)
	y := writer{w: out}
	head, err := marshal(headOf(p))
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	dec := decoder(head)
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	for dec.More() {
		key, err := y.key(dec, 0)
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
		if key != vms || len(p.VMs) == 0 {
			err = y.value(dec, 0, inMap)
		} else if _, err = dec.Token(); err == nil {
			err = y.vms(p)
		}
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
	}
	return out.Flush()
}

// vms writes the list of VMs.
func (y *writer) vms(p *plan.Plan) error {
	y.text("\n")
	for i := range p.VMs {
		b, err := marshal(&p.VMs[i])
		if err == nil {
			y.text("-")
			err = y.value(decoder(b), 0, inList)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", p.VMs[i].Source.Name, err)
		}
	}
	return nil
}

// WriteJSON writes p as a program reads it, indented for people.
func WriteJSON(w io.Writer, p *plan.Plan) error {
	out := bufio.NewWriter(w)
	b, err := marshal(headOf(p))
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	var head bytes.Buffer
	if err := json.Indent(&head, b, "", "  "); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	// No string of JSON holds a newline: this is the plan's own field.
	before, after, ok := bytes.Cut(head.Bytes(), []byte("\n  \""+vms+"\": null"))
	if !ok || len(p.VMs) == 0 {
		_, err := fmt.Fprintf(out, "%s\n", head.Bytes())
		return errors.Join(err, out.Flush())
	}
	fmt.Fprintf(out, "%s\n  %q: [", before, vms) // the first error stays, and Flush returns it
	for i := range p.VMs {
		if err := writeVM(out, i, &p.VMs[i]); err != nil {
			return fmt.Errorf("plan: %q: %w", p.VMs[i].Source.Name, err)
		}
	}
	fmt.Fprintf(out, "\n  ]%s\n", after)
	return out.Flush()
}

func writeVM(w io.Writer, i int, v *plan.VMPlan) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if i > 0 {
		text.WriteByte(',')
	}
	text.WriteString("\n    ")
	if err := json.Indent(&text, b, "    ", "  "); err != nil {
		return err
	}
	_, err = w.Write(text.Bytes())
	return err
}

// headOf is the plan without its VMs.
func headOf(p *plan.Plan) *plan.Plan {
	head := *p
	head.VMs = nil
	return &head
}

// marshal is JSON as the program prints it everywhere: no < as \u003c.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

func decoder(b []byte) *json.Decoder {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec
}

// Read reads a plan that one of the two wrote and a person perhaps edited, and
// checks it.
func Read(b []byte) (*plan.Plan, error) {
	p, err := parse(b)
	if err != nil {
		return nil, plainly(err)
	}
	return p, p.Check()
}

// plainly says what is wrong with a plan's text in the words of who edited it:
// the decoders speak of Go's types, and of JSON where it was YAML.
func plainly(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if t.Field == "" {
			return errors.New("this is not a plan that esxodus saved")
		}
		return fmt.Errorf("%s: a %s, want a %s", t.Field, t.Value, t.Type.Kind())
	}
	text := err.Error()
	for _, stage := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: ", "json: "} {
		text = strings.TrimPrefix(text, stage)
	}
	if m := badAddress.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s is no %s", m[2], map[string]string{"ParseAddr": "IP address", "netip.ParsePrefix": "address with its length, as 192.0.2.20/24 is"}[m[1]])
	}
	return errors.New(text)
}

// badAddress is what Go's own package says of an address, which it quotes.
var badAddress = regexp.MustCompile(`^(ParseAddr|netip\.ParsePrefix)\((".*")\): `)

// parse reads JSON as JSON: a reader of YAML, which is said to take all of it,
// takes neither every character nor every key.
func parse(b []byte) (*plan.Plan, error) {
	var p plan.Plan
	if bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) && json.Valid(b) {
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		return &p, dec.Decode(&p)
	}
	if len(b) > large {
		if p, err := pieces(b); err == nil {
			return p, nil
		}
	}
	return &p, yaml.UnmarshalStrict(b, &p)
}

// large is the size of a file from which on it is read one VM at a time: the
// reader of YAML takes many times a text's size.
const large = 4 << 20

// pieces reads a file of the form that WriteYAML gives it, VM by VM: each begins
// with a dash at the beginning of a line and goes on in lines that are indented.
// An error means that it isn't of that form, or not right.
func pieces(b []byte) (*plan.Plan, error) {
	before, rest, ok := bytes.Cut(b, []byte("\n"+vms+":\n- "))
	if !ok {
		return nil, errors.New("not a list of VMs")
	}
	end := len(rest)
	for at := 0; at < len(rest); { // the first line that is neither a VM's nor empty
		line, _, _ := bytes.Cut(rest[at:], []byte("\n"))
		if at > 0 && len(line) > 0 && line[0] != ' ' && !bytes.HasPrefix(line, []byte("- ")) {
			end = at
			break
		}
		at += len(line) + 1
	}
	var p plan.Plan
	head := slices.Concat(before, []byte("\n"), rest[end:])
	if err := yaml.UnmarshalStrict(head, &p); err != nil || len(p.VMs) > 0 {
		return nil, errors.Join(err, errors.New("not in the form of a plan"))
	}
	for text := range bytes.SplitSeq(rest[:end], []byte("\n- ")) {
		var one []plan.VMPlan
		if err := yaml.UnmarshalStrict(slices.Concat([]byte("- "), text), &one); err != nil {
			return nil, err
		}
		p.VMs = append(p.VMs, one...)
	}
	return &p, nil
}
