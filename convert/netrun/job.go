// Package netrun carries out changes of this host's networking, each step between
// its records in a journal, so that they can be undone: at once, where the admin
// doesn't say that the host can still be reached, and later, also after a reboot.
package netrun

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"

	"esxodus/convert/journal"
	"esxodus/inventory/fit"
	"esxodus/network"
	"esxodus/network/networkd"
)

// Job is changes of this host's networking, as a journal's job.
type Job struct {
	Host    string          `json:"host"`
	Changes network.Changes `json:"changes"`
	// Before is what the links had, so that a loss is seen.
	Before Sight `json:"before"`
	// Within is how long the admin has to say that the host can be reached; 0
	// for no such question.
	Within time.Duration `json:"within"`
}

// LongestWithin is how long a run may wait for the admin's word.
const LongestWithin = 24 * time.Hour

// Steps are the changes'.
func (j *Job) Steps() []journal.Step {
	out := make([]journal.Step, len(j.Changes.Steps))
	for i, s := range j.Changes.Steps {
		out[i] = journal.Step{Kind: string(s.Kind), Text: s.Text}
	}
	return out
}

// CheckRecorded wants that nothing is touched but networkd's files and devices of
// the kinds that are made here, whatever a journal says.
func (j *Job) CheckRecorded(run, name string) error {
	if run == "" || run != name {
		return fmt.Errorf("the run %q in the directory of %q", run, name)
	}
	if j.Within < 0 || j.Within > LongestWithin {
		return fmt.Errorf("it waits for a confirmation for %v: want at most %v", j.Within, LongestWithin)
	}
	for _, s := range j.Changes.Steps {
		if err := checkStep(s); err != nil {
			return fmt.Errorf("step %q: %w", s.Text, err)
		}
	}
	return nil
}

func checkStep(s network.Step) error {
	switch s.Kind {
	case network.StepFile:
		if s.File == nil || s.File.State != network.FileNew && s.File.State != network.FileChanged {
			return errors.New("it has no file to write")
		}
		return checkPath(s.File.Path)
	case network.StepDevice:
		return checkDevice(s.Device)
	case network.StepUp:
		return networkd.CheckName(s.Link)
	case network.StepVFs:
		if s.VFs == nil || s.VFs.Count < 1 {
			return errors.New("it has no virtual functions")
		}
		return networkd.CheckName(s.VFs.Device)
	case network.StepVirtual:
		return checkVirtual(s.Virtual)
	case network.StepUdev, network.StepReload, network.StepCheck, network.StepConfirm, network.StepRecord:
		return nil
	}
	return fmt.Errorf("%q is no kind of step", s.Kind)
}

func checkVirtual(c *network.VirtualChange) error {
	named := func(v network.Virtual) bool { return v.Name != "" && (v.UUID != "" || v.LXD != nil) }
	if c == nil || c.New == nil && !named(c.Old) || c.New != nil && (!named(*c.New) || c.New.LXD != nil) {
		return errors.New("it has no network")
	}
	if c.Old.LXD != nil {
		return checkLXD(&c.Old)
	}
	return checkURI(c.URI)
}

// checkLXD wants that a bridge and the profiles' devices have names: what LXD is asked
// for is made of them.
func checkLXD(v *network.Virtual) error {
	for _, d := range v.LXD.Devices {
		if d.Profile == "" || d.Project == "" || d.Name == "" {
			return fmt.Errorf("a device of a profile of LXD's has no name: %s", d)
		}
	}
	return networkd.CheckName(v.Name)
}

func checkDevice(d *network.Device) error {
	if d == nil || d.Kind == "" {
		return errors.New("it has no device")
	}
	if d.VLAN < 0 || d.VLAN > 4094 || d.MTU < 0 || d.MTU > 65535 {
		return fmt.Errorf("%s has the VLAN %d and an MTU of %d", d.Name, d.VLAN, d.MTU)
	}
	if d.Parent != "" {
		if err := networkd.CheckName(d.Parent); err != nil {
			return err
		}
	}
	return networkd.CheckName(d.Name)
}

// checkURI wants a libvirt of this machine, reached by no program that the address
// names.
func checkURI(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || u.Host != "" || strings.Contains(u.Scheme, "+") && !strings.HasSuffix(u.Scheme, "+unix") || u.Query().Has("command") {
		return fmt.Errorf("%q is no libvirt of this machine", uri)
	}
	return nil
}

// confDir is where networkd's own settings are.
const confDir = "/etc/systemd/networkd.conf.d"

// checkPath wants one of networkd's or udev's files, that esxodus made.
func checkPath(p string) error {
	within := strings.HasPrefix(p, network.Dir+"/") || strings.HasPrefix(p, confDir+"/") || path.Dir(p) == "/etc/udev/rules.d"
	if path.Clean(p) != p || !within || !strings.Contains(path.Base(p), "esxodus-") || strings.ContainsFunc(p, unicode.IsControl) {
		return fmt.Errorf("%q is not a file that esxodus writes", p)
	}
	return nil
}

// CheckStep wants that a step says what was there before it, if it is one that
// changes that, and that this is what the changes were planned with: it is what a
// rollback puts back.
func (j *Job) CheckStep(i int, s *journal.StepState, r *journal.Record) error {
	step := j.Changes.Steps[i]
	switch {
	case r.Event == journal.EventFailed:
		return errors.New("a step of a change of this host's networking doesn't say what it saw when it failed")
	case r.Event != journal.EventBegin:
	case step.Kind == network.StepFile:
		var w was
		if err := placeOf(s, &w); err != nil {
			return err
		}
		return w.check(step.File)
	case step.Kind == network.StepVirtual:
		var w network.Virtual
		if err := placeOf(s, &w); err != nil {
			return err
		}
		if !w.Same(step.Virtual.Old) {
			return fmt.Errorf("what was there before isn't %s as it was planned with", step.Virtual.Of())
		}
	}
	return nil
}

// placeOf reads what a step found where it makes its change.
func placeOf(s *journal.StepState, w any) error {
	if s.Place == nil {
		return errors.New("it doesn't say what was there before")
	}
	if err := json.Unmarshal(s.Place.Data, w); err != nil {
		return fmt.Errorf("what was there before: %w", err)
	}
	return nil
}

// About says whose networking it is.
func (j *Job) About() string { return "the networking of " + j.Host }

// Leavings are the files and devices.
func (j *Job) Leavings() string {
	var all []string
	for _, s := range j.Changes.Steps {
		switch {
		case s.File != nil:
			all = append(all, s.File.Path)
		case s.Device != nil:
			all = append(all, s.Device.Name)
		case s.VFs != nil:
			all = append(all, "virtual functions of "+s.VFs.Device)
		case s.Virtual != nil && s.Virtual.New != nil:
			all = append(all, s.Virtual.New.String())
		case s.Virtual != nil:
			all = append(all, "the removal of "+s.Virtual.Old.String())
		}
	}
	if len(all) == 0 {
		return fit.Count(0, "file")
	}
	return strings.Join(all, ", ")
}

// Rollback undoes the last run.
func (*Job) Rollback(string) string { return "esxodus network rollback" }

// Yourself is what changes of the networking leave.
func (*Job) Yourself() string {
	return "the files with esxodus- in their names in /etc/systemd/network and networkd.conf.d, and the devices that they make,"
}
