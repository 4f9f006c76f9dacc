package netrun

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"esxodus/convert/host"
	"esxodus/network"
)

// Sight is what links have that must outlast the changes.
type Sight struct {
	Links []network.Link `json:"links"`
	Rules []network.Rule `json:"rules,omitempty"`
}

// See takes what must outlast the changes from what a host is. Domains' own
// interfaces come and go with them.
// So does what the changes take away.
func See(h *network.Host, c *network.Changes) Sight {
	links := slices.DeleteFunc(slices.Clone(h.Links), func(l network.Link) bool {
		goes := func(s network.Step) bool {
			return s.Virtual != nil && s.Virtual.Gone != "" && (l.Name == s.Virtual.Gone || l.Master == s.Virtual.Gone)
		}
		return slices.ContainsFunc(c.Steps, goes) || l.Kind == "macvtap" || l.Kind == "tun" || l.Kind == "tap"
	})
	return Sight{Links: links, Rules: h.Rules}
}

// Times of the look at what was done.
const (
	settle = 30 * time.Second // that networkd has to configure the new devices
	relook = 300 * time.Millisecond
	calm   = 5 // looks in a row that must find nothing missing
)

// check waits until networkd has configured the new devices, and sees that
// nothing else is lost.
func (x *executor) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settle, errors.New("it didn't settle in time"))
	defer cancel()
	var last string
	for good := 0; good < calm; {
		h, err := x.Machine.Read(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if last = x.missing(&h); last == "" {
			good++
		} else {
			good = 0
		}
		if err := host.Pause(ctx, relook); err != nil {
			if last == "" {
				return err
			}
			return fmt.Errorf("%s: %w", last, err)
		}
	}
	return nil
}

// missing says what of the new devices isn't ready yet, or what is gone.
func (x *executor) missing(h *network.Host) string {
	for _, s := range x.job.Changes.Steps {
		if s.VFs != nil {
			if lack := functions(h, s.VFs); lack != "" {
				return lack
			}
		}
		if s.Device == nil {
			continue
		}
		l, there := h.Link(s.Device.Name)
		switch {
		case !there || !l.Up:
			return s.Device.Name + " isn't up"
		case slices.Contains([]string{"pending", "configuring", "initialized"}, l.Networkd.State):
			return s.Device.Name + " is " + l.Networkd.State + ", says networkd"
		case l.Networkd.State == "failed":
			return "networkd failed to configure " + s.Device.Name
		}
	}
	return strings.Join(x.job.Before.Lost(h), ", ")
}

// none wants that there are no virtual functions yet: others' don't go with ours.
func (x *executor) none(ctx context.Context, f *network.FunctionChange) (count int, err error) {
	h, err := x.Machine.Read(ctx)
	if err != nil {
		return 0, err
	}
	l, there := h.Link(f.Device)
	if !there || l.VFs != 0 {
		return 0, fmt.Errorf("%s isn't what it was when this was planned (it has %d virtual functions): plan again", f.Device, l.VFs)
	}
	return l.VFs, nil
}

// unmake takes virtual functions away, unless that would cut off a link that is in use
// by now: the next boot makes none.
func (x *executor) unmake(ctx context.Context, f network.FunctionChange) error {
	h, err := x.Machine.Read(ctx)
	if err != nil {
		return err
	}
	if l, _ := h.Link(f.Device); l.VFs == f.Count && h.Resets(f.Device) {
		if x.Note != nil {
			x.Note(fmt.Sprintf("the virtual functions of %s stay until the next boot: to remove them now would reset its link, which is in use", f.Device))
		}
		return nil
	}
	return x.Machine.RemoveFunctions(f)
}

// functions says which virtual functions aren't there yet.
func functions(h *network.Host, f *network.FunctionChange) string {
	if l, _ := h.Link(f.Device); l.VFs != f.Count {
		return fmt.Sprintf("%s has %d virtual functions, not %d", f.Device, l.VFs, f.Count)
	}
	return ""
}

// Lost lists what a host no longer has.
func (s *Sight) Lost(h *network.Host) []string {
	var out []string
	for _, was := range s.Links {
		is, there := h.Link(was.Name)
		switch {
		case !there:
			out = append(out, "the interface "+was.Name+" is gone")
		case was.Up && !is.Up:
			out = append(out, was.Name+" is down")
		default:
			out = append(out, lostOf(&was, &is)...)
		}
	}
	for _, r := range s.Rules {
		if !slices.Contains(h.Rules, r) {
			out = append(out, r.Text+" is gone")
		}
	}
	return out
}

func lostOf(was, is *network.Link) []string {
	var out []string
	for _, a := range was.Addresses {
		if !slices.ContainsFunc(is.Addresses, func(b network.Address) bool { return a.CIDR == b.CIDR }) {
			out = append(out, was.Name+" has lost the address "+a.CIDR)
		}
	}
	// Routers change routes all the time; that all of a kind are gone is another
	// matter.
	for _, r := range was.Routes {
		kept := func(b network.Routes) bool {
			return r.Protocol == b.Protocol && r.Table == b.Table && r.Family == b.Family && (b.Default || !r.Default)
		}
		if !slices.ContainsFunc(is.Routes, kept) {
			out = append(out, fmt.Sprintf("%s has lost %s", was.Name, r))
		}
	}
	return out
}
