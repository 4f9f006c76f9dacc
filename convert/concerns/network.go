package concerns

// networkPlanned is what the port groups are and become.
func networkPlanned() []Kind {
	return []Kind{
		{"network.bridge", warningNote, "The port group goes to a bridge, which costs more CPU than macvtap; a warning on fast uplinks.", "Use macvtap unless the host must reach the domain or the guest needs all frames."},
		{"network.device", warning, "The host has no interface of the name: domains on it can't start.", "Name another with --uplink or --network, or create it before the start."},
		{"network.file", warning, "It isn't known which .network file configures the uplink of VLAN devices.", "`networkctl status` shows it: name it with --network-file."},
		{"network.fleeting", warning, "Nothing makes the device when this host boots, and domains on it wouldn't start.", "`esxodus network apply`, or convert with --apply-network."},
		{"network.forged", note, "ESXi let the guest send from its own MAC address only. macvtap doesn't enforce that.", "Filter on the physical switch if it matters."},
		{"network.host-guest", note, "Over macvtap this host and its own domains don't reach each other.", "If they must, take the plan's optional units, which give the host a macvlan beside them."},
		{"network.isolated", note, "The vSwitch has no uplink: its VMs reach only each other.", "They do so here too, on a device with nothing behind it; VMs on different hosts don't."},
		{"network.mode", note, "A mode of macvtap was asked for by name.", "Leave it out for the usual one, in which domains reach each other."},
		{"network.mtu", warning, "The vSwitch has jumbo frames, and this host's interface hasn't, unless something else says so.", "If the guests need them, take the plan's optional units, after the physical switch allows it and in a quiet hour."},
		{"network.portGroup", blocker, "The ESXi host has no such port group: a distributed or renamed one.", "Name an interface for it with --network."},
		{"network.promiscuous", warning, "The guest may see all frames of the port group. Over macvtap it gets its own alone.", "If it captures, bridges or shares addresses (CARP), use a bridge."},
		{"network.teaming", warningNote, "The vSwitch has several uplinks, and here one interface takes their place.", "Make a bond on this host, and name it with --uplink."},
		{"network.trunk", warning, "VLAN 4095: the guest gets tagged frames of every VLAN. macvtap passes them, but for VLANs that this host has a device of.", "If some don't arrive: ethtool -K DEVICE rx-vlan-filter off; without an uplink, use a bridge."},
		{"network.unmapped", blocker, "Nothing says which interface of this host takes the uplink's place.", "Name it with --uplink or --network."},
		{"network.unused", warning, "A flag names what isn't there, or what nothing goes to.", "See how it is spelt, or take it out."},
		{"network.up", note, "Domains attach to the interface itself, and the plan's units don't bring it up.", "See that something does at boot."},
	}
}

// networkHost is what `network plan` and `network apply` find on this host.
func networkHost() []Kind {
	return []Kind{
		{"network.carrier", warning, "The interface is down or has no cable.", "Domains on it are cut off until it has."},
		{"network.caught", blockerNote, "A file of this host's matches a device of the plan's, too.", "Make its [Match] narrower, or rename it so that it sorts later."},
		{"network.clash", blocker, "Another interface has the name of a device of the plan's.", "Rename it, or name it with --network if the domains may use it."},
		{"network.default", note, "A bridge with a dnsmasq of its own is here, as libvirt and LXD bring one.", "`esxodus network remove-default` takes it away, if nothing uses it."},
		{"network.in-use", blocker, "Domains or containers need the network that is to go.", "Attach them elsewhere, or undefine them."},
		{"network.keep", warningNote, "Addresses, routes or rules that networkd didn't make might go when it configures the link anew.", "Write them into the host's files first, or choose a time when they may be gone."},
		{"network.manager", blockerWarning, "Something else than networkd configures the interface.", "Hand the interface over as is said, or have that program make the VLAN devices."},
		{"network.networkd", blocker, "systemd-networkd doesn't run, or doesn't say what it does.", "Start it (`esxodus help network` says how a host is prepared), or run this as root."},
		{"network.no-link", blocker, "This host has no such interface.", "Name another with --uplink or --network."},
		{"network.own", blocker, "The host uses the device itself: a file of esxodus's would take that away.", "Name the device as it is with --network."},
		{"network.port", blocker, "The interface is a port of a bridge or bond, which takes all its frames.", "Name the bridge or bond."},
		{"network.reload", blockerNote, "A reload would have networkd touch a link that is in use, so it isn't told.", "The devices are made without it. A blocker says which file to change first."},
		{"network.shared", blocker, "The .network file configures several links, or another than it was planned for.", "Give the link a file of its own, or plan again."},
		{"network.unfit", blocker, "Domains can't be attached to such an interface: Wi-Fi, say.", "Name a wired one."},
		{"network.unowned", blocker, "Nothing configures the interface, but it is in use: a file for it might take that away.", "Write down for networkd what was made by hand, and plan again."},
	}
}

func functions() []Kind {
	return []Kind{
		{"network.no-vf", warning, "macvtap takes the place of the virtual function that was asked for.", "See what the adapter or the port group lacks."},
		{"network.vf-hosts", note, "Only this host is known: whether another can run these domains isn't.", "If they may move, run `esxodus network host` on the others, and name the files with --peer."},
		{"network.vf-mac", note, "The port group allows other MAC addresses, and the adapter drops their frames.", "Use macvtap or a bridge for CARP, VRRP with virtual MACs and nested bridges."},
		{"network.vf-migration", warning, "A domain with a virtual function can't move while it runs, and its memory is locked.", "Leave --sriov out where that counts more than speed."},
		{"network.vf-network", blocker, "libvirt's network for the virtual functions can't be made.", "Rename or remove the one of that name, or plan as root where libvirt answers."},
		{"network.vf-proof", note, "The boot proof's NIC is a virtio one: it doesn't show that the guest drives the virtual function.", ""},
		{"network.vfs", blocker, "The adapter can't have that many virtual functions.", "Change what is named, or plan again without --sriov."},
		{"network.vfs-boot", warning, "The virtual functions aren't there yet; where making them may reset a link that is in use, that is left to the next boot.", "`esxodus network apply` makes them; no domain with one starts before."},
		{"network.vfs-short", blocker, "There are fewer virtual functions than NICs that are to have one.", "Allow more with --sriov DEVICE=N, plan fewer VMs, or leave some port groups at macvtap."},
	}
}
