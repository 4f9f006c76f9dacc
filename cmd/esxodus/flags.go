package main

import (
	"github.com/urfave/cli/v2"
)

// The flags that several commands share, one list for each thing they say.

func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "esxi", Usage: "the ESXi host, `https://user@host[:port]` (default: GOVC_URL)"},
		&cli.StringFlag{Name: "password-file", Usage: "read the password from the first line of `FILE` (default: GOVC_PASSWORD, else a prompt)"},
		&cli.StringFlag{Name: "thumbprint", Usage: "accept the certificate with this `SHA-256` fingerprint and no other, even if it has expired"},
		&cli.BoolFlag{Name: "insecure", Usage: "accept any certificate: whoever sits in between reads the password"},
		&cli.BoolFlag{Name: "legacy-tls", Usage: "allow TLS 1.0 and RSA key exchange, as ESXi 5.x needs"},
		&cli.DurationFlag{Name: "stall", Usage: "give up on a connection that delivers nothing for so `LONG`, and make a new one (default: 30s)"},
	}
}

func sshFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ssh", Usage: "ESXi's SSH at `host[:port]` (default: the ESXi host, port 22)"},
		&cli.StringFlag{Name: "ssh-key", Usage: "log in with the private key in `FILE` (default: the password)"},
		&cli.StringFlag{Name: "ssh-fingerprint", Usage: "accept the host key with this `SHA256:…` fingerprint (default: ~/.ssh/known_hosts)"},
	}
}

func targetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "storage", Usage: "where the disks go: `dir:PATH` for sparse raw files, lvm:VG for logical volumes"},
		&cli.StringSliceFlag{Name: "uplink", Usage: "`vmnic0=eno1`: the host interface that stands for an ESXi uplink or vSwitch; eno1 alone for all (repeatable)"},
		&cli.StringSliceFlag{Name: "network", Usage: "`\"PORT GROUP=macvtap:DEV\"`, =bridge:DEV or =none: what a port group's NICs attach to (repeatable)"},
		&cli.StringFlag{Name: "virt-type", Usage: "`kvm or qemu` (default: kvm where libvirt offers it)"},
		&cli.StringFlag{Name: "shutdown", Usage: "shut powered-on VMs down first, by `api, ssh or auto` (default: they are refused)"},
		&cli.BoolFlag{Name: "no-proof", Usage: "leave out the boot proof"},
		&cli.StringFlag{Name: "units", Usage: "write the systemd-networkd units to `DIR`, for review; nothing is applied"},
	}
}

func libvirtFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "libvirt", Value: "qemu:///system", Usage: "libvirt connection `URI`"},
	}
}

func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "connections", Usage: "read each disk over `N` connections (default: 4)"},
		&cli.StringFlag{Name: "rate", Usage: "copy at most `N` bytes a second in all; K, M and G are binary"},
	}
}

func stateFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "state", Value: "/var/lib/esxodus", EnvVars: []string{"ESXODUS_STATE"}, Usage: "keep the journals in `DIR`"},
	}
}

func outputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output", Value: "text", Usage: "`text or json`"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log what is done to stderr"},
	}
}

// asJSON reads --output.
func asJSON(c *cli.Context) (bool, error) {
	switch v := c.String("output"); v {
	case "text":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, usagef("--output %q: want text or json", v)
	}
}
