package shell

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"esxodus/inventory"
	"esxodus/inventory/esxi"
)

var vmID = regexp.MustCompile(`^[0-9]{1,9}$`)

// vimCmd runs vim-cmd on a VM and explains its faults, which it prints to
// standard output.
func (c *Client) vimCmd(ctx context.Context, command, id string) (string, error) {
	if !vmID.MatchString(id) {
		return "", fmt.Errorf("VM id %q: want the number that the host's inventory shows", id)
	}
	out, err := c.Run(ctx, "vim-cmd", command, id)
	return string(out), explainFault(string(out), err)
}

func explainFault(out string, err error) error {
	if exit, ok := errors.AsType[*ExitError](err); ok {
		out += exit.Output
		if exit.Code == 127 {
			return fmt.Errorf("%w (is this an ESXi host?)", err)
		}
	}
	for fault, sentinel := range map[string]error{
		"vim.fault.NotFound": esxi.ErrNotFound, "vim.fault.ToolsUnavailable": esxi.ErrNoTools, "vim.fault.NoPermission": esxi.ErrPermission,
	} {
		if strings.Contains(out, fault) {
			return fmt.Errorf("%w: %s", sentinel, faultText(out))
		}
	}
	if err == nil && strings.Contains(out, "(vim.fault.") {
		return errors.New(faultText(out))
	}
	return err
}

var faultMessage = regexp.MustCompile(`(?s)msg = "(.*?)"\s*\n`)

func faultText(out string) string {
	if m := faultMessage.FindStringSubmatch(out); m != nil && m[1] != "" {
		return m[1]
	}
	return strings.TrimSpace(out[:min(len(out), 300)])
}

// PowerState returns the power state of the VM with the given id. The error
// wraps [esxi.ErrNotFound] when there is none.
func (c *Client) PowerState(ctx context.Context, id string) (inventory.PowerState, error) {
	out, err := c.vimCmd(ctx, "vmsvc/power.getstate", id)
	if err != nil {
		return inventory.PowerUnknown, fmt.Errorf("%s: power state of VM %s: %w", c.cfg.Addr, id, err)
	}
	switch {
	case strings.Contains(out, "Powered off"):
		return inventory.PoweredOff, nil
	case strings.Contains(out, "Powered on"):
		return inventory.PoweredOn, nil
	case strings.Contains(out, "Suspended"):
		return inventory.Suspended, nil
	}
	return inventory.PowerUnknown, fmt.Errorf("%s: power state of VM %s: %w: %.80q", c.cfg.Addr, id, esxi.ErrProtocol, out)
}

// Shutdown asks the guest to shut down and returns when the VM is powered off,
// or with [esxi.ErrStillOn] when ctx ends first. A VM that is off already is
// no error. Without Tools in the guest it is [esxi.ErrNoTools].
func (c *Client) Shutdown(ctx context.Context, id string) error {
	return c.bring(ctx, id, inventory.PoweredOff, "shut down", "vmsvc/power.shutdown")
}

// PowerOn powers the VM on and returns when it is. A VM that is on already is
// no error.
func (c *Client) PowerOn(ctx context.Context, id string) error {
	return c.bring(ctx, id, inventory.PoweredOn, "power on", "vmsvc/power.on")
}

// PowerOff cuts the VM's power, as pulling the plug does, and returns when it
// is off.
func (c *Client) PowerOff(ctx context.Context, id string) error {
	return c.bring(ctx, id, inventory.PoweredOff, "power off", "vmsvc/power.off")
}

// bring brings a VM to a power state by a command, unless it is in it.
func (c *Client) bring(ctx context.Context, id string, want inventory.PowerState, what, command string) error {
	err := esxi.Bring(ctx, want, c.poll, func() (inventory.PowerState, error) { return c.PowerState(ctx, id) }, func() error {
		_, err := c.vimCmd(ctx, command, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %s VM %s: %w", c.cfg.Addr, what, id, err)
	}
	return nil
}

// AutoStart returns the host's autostart: the defaults, and the entries by VM
// id.
func (c *Client) AutoStart(ctx context.Context) (inventory.AutoStartDefaults, map[string]inventory.AutoStart, error) {
	fail := func(err error) (inventory.AutoStartDefaults, map[string]inventory.AutoStart, error) {
		return inventory.AutoStartDefaults{}, nil, fmt.Errorf("%s: autostart: %w", c.cfg.Addr, err)
	}
	out, err := c.Run(ctx, "vim-cmd", "hostsvc/autostartmanager/get_defaults")
	if err := explainFault(string(out), err); err != nil {
		return fail(err)
	}
	defaults := inventory.AutoStartDefaults{}
	for _, o := range parseDump(string(out)) {
		defaults = inventory.AutoStartDefaults{
			Enabled: o["enabled"] == "true", StartDelay: number(o["startDelay"]), StopDelay: number(o["stopDelay"]),
			StopAction: lowerFirst(o["stopAction"]), WaitForHeartbeat: o["waitForHeartbeat"] == "true",
		}
	}
	sequence, err := c.autoStartSequence(ctx)
	if err != nil {
		return fail(err)
	}
	entries := make(map[string]inventory.AutoStart)
	for id, e := range sequence {
		entries[id] = inventory.AutoStart{
			Order: e.Order, StartDelay: e.StartDelay, StopDelay: e.StopDelay,
			StartAction: lowerFirst(e.StartAction), StopAction: lowerFirst(e.StopAction),
			WaitForHeartbeat: e.Heartbeat == "yes" || e.Heartbeat == "systemDefault" && defaults.WaitForHeartbeat,
		}
	}
	return defaults, entries, nil
}

// autoStartSequence is the host's entries, by VM id.
func (c *Client) autoStartSequence(ctx context.Context) (map[string]inventory.AutoStartEntry, error) {
	out, err := c.Run(ctx, "vim-cmd", "hostsvc/autostartmanager/get_autostartseq")
	if err := explainFault(string(out), err); err != nil {
		return nil, err
	}
	entries := make(map[string]inventory.AutoStartEntry)
	for _, o := range parseDump(string(out)) {
		if id := strings.TrimPrefix(o["key"], "vim.VirtualMachine:"); vmID.MatchString(id) {
			entries[id] = inventory.AutoStartEntry{
				Order: number(o["startOrder"]), StartDelay: number(o["startDelay"]), StopDelay: number(o["stopDelay"]),
				StartAction: o["startAction"], StopAction: o["stopAction"], Heartbeat: o["waitForHeartbeat"],
			}
		}
	}
	return entries, nil
}

// AutoStartEntry returns a VM's entry in the host's autostart, the zero one where it
// has none.
func (c *Client) AutoStartEntry(ctx context.Context, id string) (inventory.AutoStartEntry, error) {
	entries, err := c.autoStartSequence(ctx)
	if err != nil {
		return inventory.AutoStartEntry{}, fmt.Errorf("%s: autostart: %w", c.cfg.Addr, err)
	}
	return entries[id], nil
}

// SetAutoStart changes a VM's entry in the host's autostart.
func (c *Client) SetAutoStart(ctx context.Context, id string, e inventory.AutoStartEntry) error {
	if !vmID.MatchString(id) {
		return fmt.Errorf("VM id %q: want the number that the host's inventory shows", id)
	}
	out, err := c.Run(ctx, "vim-cmd", "hostsvc/autostartmanager/update_autostartentry", id, e.StartAction, strconv.Itoa(e.StartDelay),
		strconv.Itoa(e.Order), e.StopAction, strconv.Itoa(e.StopDelay), e.Heartbeat)
	if err := explainFault(string(out), err); err != nil {
		return fmt.Errorf("%s: autostart of VM %s: %w", c.cfg.Addr, id, err)
	}
	return nil
}

var dumpField = regexp.MustCompile(`^\s*(\w+) = (.*?),?\s*$`)

// parseDump reads the fields of the flat objects that vim-cmd prints:
//
//	(vim.host.AutoStartManager.AutoPowerInfo) {
//	   key = 'vim.VirtualMachine:1',
//	   startOrder = 1,
//	}
func parseDump(s string) []map[string]string {
	const maxObjects = 10_000
	var objects []map[string]string
	for line := range strings.Lines(s) {
		if strings.HasSuffix(strings.TrimSpace(line), "{") {
			if len(objects) == maxObjects {
				break
			}
			objects = append(objects, make(map[string]string))
			continue
		}
		if m := dumpField.FindStringSubmatch(line); m != nil && len(objects) > 0 {
			objects[len(objects)-1][m[1]] = strings.Trim(m[2], `'"`)
		}
	}
	return objects
}

func number(s string) int {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0
	}
	return int(n)
}

func lowerFirst(s string) string {
	if s == "" || s == "<unset>" {
		return ""
	}
	return strings.ToLower(s[:1]) + s[1:]
}
