package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/convert/volume"
	"esxodus/disk"
)

// The flags that several commands share, one list for each thing they say.

func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "esxi", Usage: "read from the ESXi host at `URL`, such as https://root@esx1 (default: GOVC_URL)"},
		&cli.StringFlag{Name: "password-file", Usage: "read the password from the first line of `FILE` (default: GOVC_PASSWORD, else a prompt)"},
		&cli.StringFlag{Name: "thumbprint", Usage: "accept only the certificate whose SHA-256 fingerprint is `HASH`, even if it has expired"},
		&cli.BoolFlag{Name: "insecure", Usage: "accept any certificate: anyone who intercepts the connection can read the password"},
		&cli.BoolFlag{Name: "legacy-tls", Usage: "allow TLS 1.0 and RSA key exchange, as ESXi 5.x needs"},
		&cli.DurationFlag{Name: "stall", DefaultText: "30s", Usage: "drop a connection that delivers nothing for `DURATION` (30s, 2m), or less than 2 KiB/s, and make a new one"},
	}
}

// sourcesFlags are sourceFlags for what reads several hosts at once.
func sourcesFlags() []cli.Flag {
	one := sourceFlags()
	one[0] = &cli.StringSliceFlag{Name: "esxi", Usage: "read from the ESXi host at `URL`, such as https://root@esx1 (default: GOVC_URL; repeatable)"}
	return one
}

// fromFlags say that the VMs are in files of this machine.
func fromFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "from", Usage: "read the VMs in `FILE` instead of on a host: the directory of a datastore that is mounted or was copied, or an .ova or .ovf"},
	}
}

// wayFlags say how the disks' bytes come; a plan keeps it.
func wayFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "datastore", Usage: "with --esxi: read the disks on a datastore from where it is mounted here, `MAP` is 'datastore1=/mnt/nfs' (repeatable)"},
		&cli.StringSliceFlag{Name: "via", Usage: "have the disks' bytes come by `WAY` https, ssh, nfc (a lease) or file, or those of one VM: 'VM=ssh' (default: from files where --datastore has them, else over HTTPS, and by SSH where the host serves none so; repeatable)"},
		&cli.StringFlag{Name: "scratch", Usage: "keep in `DIR` what a lease brings, until it is copied; disks that no file serves, as on vSAN, come so (a paid licence)"},
		&cli.BoolFlag{Name: "no-speed", Usage: "don't measure how fast disks can be read, which takes a second for each host"},
		&cli.StringSliceFlag{Name: "off", Usage: "with --from: take `VM` for powered off though ESXi's swap or lock files are beside its .vmx (repeatable)"},
	}
}

func sshFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ssh", Usage: "reach ESXi's SSH at `HOST[:PORT]` (default: the ESXi host, port 22)"},
		&cli.StringFlag{Name: "ssh-key", Usage: "log in with the private key in `FILE` (default: the password)"},
		&cli.StringFlag{Name: "ssh-fingerprint", Usage: "accept the host key whose fingerprint is `HASH`, as SHA256:… (default: as in ~/.ssh/known_hosts)"},
	}
}

// networkFlags say what the source's networks are here.
func networkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "uplink", Usage: "use a host interface for an ESXi uplink or vSwitch: `MAP` is vmnic0=eno1, or eno1 alone for all (repeatable)"},
		&cli.StringSliceFlag{Name: "network", Usage: "attach a port group's NICs to something else: `MAP` is 'VM Network=macvtap:eno1', or ends in =sriov:eno1, =bridge:br0 or =none; after a macvtap's device may come ,private ,vepa or ,passthrough (repeatable)"},
		&cli.StringSliceFlag{Name: "sriov", Usage: "allow virtual functions on a host interface, where they can be had: `MAP` is eno1=8 for at most eight, or eno1 for those that there are (repeatable)"},
		&cli.StringSliceFlag{Name: "peer", Usage: "attach NICs so that another host can run them, too: `FILE` is what 'esxodus network host' prints there (repeatable)"},
		&cli.StringSliceFlag{Name: "network-file", Usage: "name the networkd file that configures a host interface, as networkctl status shows it: `MAP` is eno1=lan.network (repeatable)"},
	}
}

func targetFlags() []cli.Flag {
	where := &cli.StringFlag{Name: "storage", Usage: "put the disks into `WHERE`: dir:PATH for sparse raw files in that directory, lvm:VG for logical volumes, lvm:VG/POOL for thin ones"}
	return slices.Concat([]cli.Flag{where}, networkFlags(), []cli.Flag{
		&cli.StringFlag{Name: "layout", Value: "auto", Usage: "lay the disks out as `KIND`: lvm (no partitions, one physical volume, booted by LILO), keep (as they are), plain (one ext4 on the bare disk) or auto (lvm for guests that qualify)"},
		&cli.StringFlag{Name: "virt-type", Usage: "make domains of `TYPE` kvm or qemu (default: kvm where libvirt offers it)"},
		&cli.StringFlag{Name: "shutdown", Usage: "shut powered-on VMs down first, by `WAY`: api, ssh or auto (default: refuse them)"},
		&cli.DurationFlag{Name: "power-off", DefaultText: "never", Usage: "with --shutdown: cut the power of a VM that isn't off `DURATION` (10m) after it was asked to shut down, or that has no VMware Tools to be asked by; what it hasn't written is lost"},
		&cli.StringFlag{Name: "proof", DefaultText: "network where an address of the guest is known, else boot", Usage: "prove that the guest comes up by `KIND`: boot (links down) or network (it answers on its addresses, too)"},
		&cli.StringSliceFlag{Name: "proof-port", Usage: "try TCP port `N` at each address in the network proof, too (repeatable)"},
		&cli.BoolFlag{Name: "no-proof", Usage: "skip the boot proof: the result is then 'converted, not seen to boot'"},
		&cli.BoolFlag{Name: "all-blocks", Usage: "copy also what nothing on the disks needs (free space of file systems, swap)"},
		&cli.BoolFlag{Name: "no-edits", Usage: "change nothing inside guests that keep their layout"},
		&cli.StringSliceFlag{Name: "ip", Usage: "give a NIC another address, in the guest's own style: `ADDR` is 'VM/ethernet0=192.0.2.20/24,gw=192.0.2.1,dns=192.0.2.53'; gw and dns may be left out (repeatable)"},
		&cli.StringSliceFlag{Name: "acknowledge", Usage: "take note of a warning: `WHAT` is 'guest.left=why it stops nothing', or 'VM/guest.left=…' for one VM (repeatable)"},
		&cli.StringFlag{Name: "units", Usage: "write the systemd-networkd units to `DIR`, for review; nothing is applied"},
	})
}

func libvirtFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "libvirt", Value: "qemu:///system", Usage: "connect to libvirt at `URI`"},
	}
}

// guestFlags are what planning a guest's conversion takes; carrying it out
// takes liloFlags of them.
func guestFlags() []cli.Flag {
	return append(liloFlags(),
		&cli.StringFlag{Name: "packages", Usage: "take packages that a guest lacks (lvm2) from the .deb files in `DIR` (default: fetched from this host's mirrors)"})
}

func liloFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "lilo", EnvVars: []string{"ESXODUS_LILO"}, Usage: "install the boot map with the program `FILE` (default: beside this program, or in ../lib/esxodus)"},
	}
}

func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "connections", DefaultText: "found by trying", Usage: "read over `N` connections in all, 1 to 8"},
		&cli.StringFlag{Name: "rate", Usage: "copy at most `N` bytes a second in all (K, M and G are powers of 1024)"},
	}
}

// patienceFlags say how long a host is waited for.
func patienceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "patience", Value: time.Hour, Usage: "wait for `DURATION` for an ESXi host that can't be reached any more, and go on where the copy was (0s for not at all)"},
	}
}

// connections is what --connections asks for.
func connections(c *cli.Context) (*disk.Connections, error) {
	n := c.Int("connections")
	if c.IsSet("connections") && (n < 1 || n > 8) {
		return nil, usagef("--connections %d: want 1 to 8", n)
	}
	return disk.NewConnections(n), nil
}

func stateFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "state", Value: "/var/lib/esxodus", EnvVars: []string{"ESXODUS_STATE"}, Usage: "keep the journals in `DIR`"},
	}
}

func fullFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "full", Usage: "show the whole plan: every VM in detail, what stays the same, ESXi's own bookkeeping, the units' texts"},
	}
}

func outputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output", Value: "text", Usage: "print results as `FORM`: text or json"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log to stderr which programs are run, which reads are tried again, and the boot proof's console"},
	}
}

// stateDir is where --state says the journals are. Its path is absolute:
// libvirt is given paths in it.
func stateDir(c *cli.Context) (runs.StateDir, error) {
	path, err := filepath.Abs(c.String("state"))
	if err != nil {
		return "", fmt.Errorf("--state: %w", err)
	}
	return runs.StateDir(path), nil
}

// storage is where --storage says the disks go. A directory is taken relative to
// the one that we are in; plans and journals get its absolute path.
func storage(c *cli.Context) (string, error) {
	where := c.String("storage")
	dir, ok := strings.CutPrefix(where, volume.KindDir+":")
	switch {
	case !ok:
		return where, nil
	case dir == "":
		return "", usagef("--storage %s: want a directory: dir:PATH", where)
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("--storage: %w", err)
	}
	return volume.KindDir + ":" + path, nil
}

// asJSON reads --output.
func asJSON(c *cli.Context) (bool, error) {
	return c.String("output") == "json", chosen(c, "output")
}

// proofBoot is the --proof that leaves the network out.
const proofBoot = "boot"

// proofOptions reads what is to be proven.
func proofOptions(c *cli.Context, o *plan.Options) error {
	o.NoProof, o.BootOnly = c.Bool("no-proof"), c.String("proof") == proofBoot
	if err := chosen(c, "proof"); err != nil {
		return err
	}
	if o.NoProof && c.IsSet("proof") {
		return usagef("--no-proof and --proof %s: want one of them", c.String("proof"))
	}
	var err error
	o.Ports, err = tcpPorts(c, "proof-port")
	return err
}

// tcpPorts reads a flag that lists TCP ports.
func tcpPorts(c *cli.Context, flag string) (ports []uint16, err error) {
	for _, text := range c.StringSlice(flag) {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, usagef("--%s %s: want a TCP port, 1 to 65535", flag, text)
		}
		ports = append(ports, uint16(n))
	}
	if len(ports) > plan.MostPorts {
		return nil, usagef("--%s: %d of them: want at most %d", flag, len(ports), plan.MostPorts)
	}
	return ports, nil
}

// chosen makes sure that a flag, if it has a value, has one of its [choices].
func chosen(c *cli.Context, flag string) error {
	list := choices()[flag]
	if v := c.String(flag); v != "" && !slices.Contains(list, v) {
		last := len(list) - 1
		return usagef("--%s %q: want %s or %s", flag, v, strings.Join(list[:last], ", "), list[last])
	}
	return nil
}
