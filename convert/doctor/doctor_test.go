package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/plan"
	"esxodus/convert/source"
	"esxodus/convert/volume"
	"esxodus/disk"
	"esxodus/fixtures"
	fixture "esxodus/fixtures/esxi"
	"esxodus/inventory"
	"esxodus/inventory/esxi"
	"esxodus/inventory/esxi/shell"
	"esxodus/network"

	"golang.org/x/crypto/ssh"
)

// found is what findings are compared by.
func found(list []Finding) []string {
	var out []string
	for _, f := range list {
		out = append(out, strings.TrimSpace(f.ID+" "+string(f.Severity)))
	}
	return out
}

// look examines a host of the simulator's.
func look(t *testing.T, o fixture.Options, change func(*fixture.Host, *Source)) []Finding {
	t.Helper()
	h, err := fixture.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	u, err := url.Parse(h.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(h.User())
	sh := shell.Config{Addr: h.SSHAddr(), User: h.User(), Password: esxi.Secret(h.Password()), HostKeyFingerprint: ssh.FingerprintSHA256(h.SSHHostKey())}
	src := &source.ESXi{
		Config: func() (esxi.Config, error) {
			return esxi.Config{URL: u, Password: esxi.Secret(h.Password()), Thumbprint: h.Thumbprint()}, nil
		},
		Shell: func(esxi.Config) shell.Config { return sh },
	}
	t.Cleanup(func() { _ = src.Close(context.WithoutCancel(t.Context())) })
	c, err := src.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := Source{Client: c, Shell: sh, Open: src.OpenDisk}
	if change != nil {
		change(h, &s)
	}
	list, err := OfSource(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if stats := h.Stats(); len(stats.Changes)+stats.WriteAttempts > 0 {
		t.Errorf("the host was to be changed: %v", stats.Changes)
	}
	return list
}

func TestOfSource(t *testing.T) {
	small := filepath.Join(t.TempDir(), "guests")
	if err := fixtures.SmallGuest(filepath.Join(small, "small"), "small"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		o      fixture.Options
		change func(*fixture.Host, *Source)
		says   string
		want   []string
	}{
		{"free", fixture.Options{Dir: small}, nil, "--shutdown ssh", []string{"version", "licence note", "tls", "clock", "rights", "folder", "lease note", "ssh", "ssh-read", "running note"}},
		{"licensed, measured", fixture.Options{Dir: small, Licensed: true}, func(_ *fixture.Host, s *Source) { s.Measure = true }, "MiB/s over 8 connections", []string{"version", "licence", "tls", "clock", "rights", "folder", "lease", "ssh", "ssh-read", "running note", "speed"}},
		{"licensed, no VM is off", fixture.Options{Dir: small, Licensed: true}, func(h *fixture.Host, _ *Source) { h.SetPower("small", true) }, "no VM is off for the host to say more", []string{"version", "licence", "tls", "clock", "rights", "folder note", "lease note", "ssh", "ssh-read", "running note"}},
		{"licensed, and no export", fixture.Options{Dir: small, Licensed: true}, func(h *fixture.Host, _ *Source) { h.Faults().Disable("small", "PowerOffVM_Task", "ExportVm") }, "has that disabled for small, which is off", []string{"version", "licence", "tls", "clock", "rights", "folder", "lease note", "ssh", "ssh-read", "running note"}},
		{"expired certificate", fixture.Options{Dir: small, ExpiredCert: true}, nil, "its certificate expired on ", []string{"version", "licence note", "tls note", "clock", "rights", "folder", "lease note", "ssh", "ssh-read", "running note"}},
		{"another key", fixture.Options{Dir: small}, func(_ *fixture.Host, s *Source) { s.Shell.HostKeyFingerprint = "SHA256:x" }, "--ssh-fingerprint SHA256", []string{"version", "licence note", "tls", "clock", "rights", "folder", "lease note", "ssh note", "running note"}},
		{"no SSH, which a free licence needs", fixture.Options{Dir: small}, func(_ *fixture.Host, s *Source) { s.Shell.Addr = "127.0.0.1:1" }, "connection refused", []string{"version", "licence note", "tls", "clock", "rights", "folder", "lease note", "ssh warning", "running note"}},
		{"all VMs run", fixture.Options{Dir: small}, func(h *fixture.Host, _ *Source) { h.SetPower("small", true) }, "no VM that is off has a flat disk", []string{"version", "licence note", "tls", "clock", "rights", "folder note", "lease note", "ssh", "ssh-read", "running note"}},
		{"disks aren't served", fixture.Options{Dir: small}, func(h *fixture.Host, _ *Source) {
			h.Faults().Add(fixture.Fault{Kind: fixture.Status, Path: "[datastore1] small", Code: 403, HEAD: true})
		}, "no disk of 1 that were tried can be read by HTTPS", []string{"version", "licence note", "tls", "clock", "rights", "folder warning", "lease note", "ssh", "ssh-read", "running note"}},
		{"a VM with a snapshot runs", fixture.Options{Builtin: true}, func(h *fixture.Host, _ *Source) { h.SetPower("snapped", true) }, "the disk under the snapshot of snapped can be read", []string{"version", "licence note", "tls", "clock", "rights", "folder", "lease note", "ssh", "ssh-read", "running"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := look(t, tt.o, tt.change)
			if got := found(list); !slices.Equal(got, tt.want) {
				t.Errorf("found %q; want %q\n%+v", got, tt.want, list)
			}
			if all := fmt.Sprintf("%+v", list); !strings.Contains(all, tt.says) {
				t.Errorf("want %q in %s", tt.says, all)
			}
		})
	}
}

// TestBeneath: how the disk under a running VM's snapshot can be read.
func TestBeneath(t *testing.T) {
	for _, tt := range []struct {
		name, path string // of the files that HTTPS doesn't serve
		want       string
	}{
		{"by both", "nothing", "can be read while that runs, by HTTPS and SSH"},
		{"by SSH alone", "[datastore1] snapped", "can be read while that runs, by SSH"},
		{"by neither", "snapped", "can't be read while that runs: by HTTPS: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := look(t, fixture.Options{Builtin: true}, func(h *fixture.Host, _ *Source) {
				h.SetPower("snapped", true)
				h.Faults().Add(fixture.Fault{Kind: fixture.Status, Path: tt.path, Code: 500, HEAD: true})
			})
			if !slices.ContainsFunc(list, func(f Finding) bool { return f.ID == "running" && strings.Contains(f.What, tt.want) }) {
				t.Errorf("want %q in %+v", tt.want, list)
			}
		})
	}
}

// TestRefusingHost: a host that serves no disk isn't asked for each that it has, and a VM
// whose files it has lost says nothing of SSH.
func TestRefusingHost(t *testing.T) {
	tried := 0
	list := look(t, fixture.Options{Builtin: true}, func(_ *fixture.Host, s *Source) {
		s.Open = func(context.Context, plan.Origin) (disk.Image, func() error, error) {
			tried++
			return nil, nil, errors.New("refused")
		}
		v := &visit{Source: *s, h: &inventory.Host{VMs: []inventory.VM{
			{Path: "[datastore1] gone/gone.vmx", ConnectionState: "inaccessible"}, {Path: "[datastore1] web/web.vmx", ConnectionState: "connected"},
		}}}
		if v.overSSH(t.Context()); !slices.Equal(found(v.notes), []string{"ssh-read"}) {
			t.Errorf("found %+v", v.notes)
		}
	})
	if tried != maxTries {
		t.Errorf("%d disks were tried; want %d", tried, maxTries)
	}
	if !slices.Contains(found(list), "folder warning") {
		t.Errorf("found %+v", list)
	}
}

// answers are what programs print, by their names, or by those and the last argument.
type answers map[string]string

func (a answers) Run(_ context.Context, argv ...string) ([]byte, error) {
	if out, ok := a[argv[0]+" "+argv[len(argv)-1]]; ok {
		return []byte(out), nil
	}
	if out, ok := a[argv[0]]; ok {
		return []byte(out), nil
	}
	return nil, errors.New(argv[0] + " fails")
}

func TestOfHost(t *testing.T) {
	fixtures.Tool(t, "vgs")
	fixtures.Tool(t, "qemu-img")
	fixtures.Tool(t, "guestfish")
	const vg = `{"report":[{"vg":[{"vg_name":"vg0","vg_uuid":"u","vg_seqno":"1","vg_tags":"","vg_free":"%d","vg_lock_type":"%s","vg_systemid":"%s","pv_name":"/dev/sdb"}]}]}`
	all := plan.TargetFacts{VirtTypes: []string{"kvm"}, EFI: true, SecureBoot: true, TPM: true}
	own := []network.Link{{Name: "eno1", Networkd: network.NetworkdOfLink{File: "/etc/systemd/network/lan.network"}}}
	running := network.Host{Networkd: network.Networkd{Running: true, Version: 252}, Links: own}
	idle := network.Host{Networkd: network.Networkd{Running: true}}
	managed := func(h network.Host, by string, links ...string) network.Host {
		h.Managers = []network.Manager{{Name: by, Links: links}}
		return h
	}
	lvs := fmt.Sprintf(vg, 1, "", "")
	for _, tt := range []struct {
		name  string
		facts plan.TargetFacts
		err   error
		net   network.Host
		vgs   string
		tran  string
		flags string // of the processor; "": KVM is there
		says  string
		want  []string
	}{
		{"fit", all, nil, running, fmt.Sprintf(vg, 1<<40, "", ""), "", "", "1 TiB free", []string{"root", "kvm", "libvirt", "programs", "group", "network"}},
		{"no libvirt", plan.TargetFacts{}, errors.New("no socket"), running, fmt.Sprintf(vg, 1, "", ""), "", "", "apt-get install libvirt-daemon-system", []string{"root", "kvm", "libvirt blocker", "programs", "group", "network"}},
		{"no firmware", plan.TargetFacts{VirtTypes: []string{"kvm"}}, nil, running, fmt.Sprintf(vg, 1, "", ""), "", "", "apt-get install ovmf", []string{"root", "kvm", "libvirt", "efi note", "efi note", "tpm note", "programs", "group", "network"}},
		{"KVM isn't loaded", all, nil, running, fmt.Sprintf(vg, 1, "", ""), "", "fpu svm", "modprobe kvm_amd", []string{"root", "kvm warning", "libvirt", "programs", "group", "network"}},
		{"no virtualization", all, nil, running, fmt.Sprintf(vg, 1, "", ""), "", "fpu", "in the firmware's settings", []string{"root", "kvm warning", "libvirt", "programs", "group", "network"}},
		{"a shared LUN without locks", all, nil, running, fmt.Sprintf(vg, 1, "", ""), "iscsi", "", "on iscsi, where other hosts may see it", []string{"root", "kvm", "libvirt", "programs", "group warning", "lvm-devices note", "network"}},
		{"a group of a local disk and a LUN", all, nil, running, strings.Replace(fmt.Sprintf(vg, 1, "", ""), `{"vg_name"`, `{"vg_name":"vg0","vg_uuid":"u","vg_seqno":"1","vg_free":"1","pv_name":"/dev/sda"},{"vg_name"`, 1), "iscsi", "", "on iscsi, where other hosts may see it", []string{"root", "kvm", "libvirt", "programs", "group warning", "lvm-devices note", "network"}},
		{"a shared LUN with locks", all, nil, running, fmt.Sprintf(vg, 1, "sanlock", ""), "iscsi", "", "locks by sanlock", []string{"root", "kvm", "libvirt", "programs", "group", "lvm-devices note", "network"}},
		{"sanlock without a watchdog", all, nil, running, strings.ReplaceAll(fmt.Sprintf(vg, 1, "sanlock", ""), "vg0", "dogless"), "iscsi", "", "use_watchdog=0", []string{"root", "kvm", "libvirt", "programs", "group", "sanlock warning", "lvm-devices note", "network"}},
		{"a LUN with an owner", all, nil, running, fmt.Sprintf(vg, 1, "none", "kvm1"), "fc", "", "with the system id kvm1 alone", []string{"root", "kvm", "libvirt", "programs", "group note", "lvm-devices note", "network"}},
		{"a LUN with another owner", all, nil, running, strings.Replace(fmt.Sprintf(vg, 1, "none", "kvm2"), "vg0", "shut", 1), "iscsi", "", "which isn't this one", []string{"root", "kvm", "libvirt", "programs", "group note", "lvm-devices note", "network"}},
		{"locks that aren't used", all, nil, running, strings.Replace(fmt.Sprintf(vg, 1, "dlm", ""), "vg0", "shut", 1), "iscsi", "", "vgchange --lockstart shut", []string{"root", "kvm", "libvirt", "programs", "group warning", "lvm-devices note", "network"}},
		{"locks that aren't started", all, nil, running, strings.Replace(fmt.Sprintf(vg, 1, "sanlock", ""), "vg0", "idle", 1), "iscsi", "", "aren't started here", []string{"root", "kvm", "libvirt", "programs", "group warning", "lvm-devices note", "network"}},
		{"another writer", all, nil, running, strings.Replace(fmt.Sprintf(vg, 1, "", ""), `"vg_tags":""`, `"vg_tags":"esxodus_writer_kvm=20x_00000000"`, 1), "iscsi", "", `now it is the host "kvm x"`, []string{"root", "kvm", "libvirt", "programs", "group warning", "lvm-devices note", "network"}},
		{"lvm fails", all, nil, running, "{", "", "", "report", []string{"root", "kvm", "libvirt", "programs", "lvm warning", "network"}},
		{"others configure the network", all, nil, managed(network.Host{}, network.NetworkManager, "eno1"), lvs, "", "", "NetworkManager configures eno1", []string{"root", "kvm", "libvirt", "programs", "group", "network warning", "network warning"}},
		{"NetworkManager has no interface", all, nil, managed(running, network.NetworkManager), lvs, "", "", "systemd-networkd 252 configures this host", []string{"root", "kvm", "libvirt", "programs", "group", "network"}},
		{"Netplan writes networkd's files", all, nil, managed(running, network.Netplan, "eno1"), lvs, "", "", "esxodus adds to those", []string{"root", "kvm", "libvirt", "programs", "group", "network", "network note"}},
		{"networkd has no interface", all, nil, idle, lvs, "", "", "systemd-networkd runs, and configures no interface", []string{"root", "kvm", "libvirt", "programs", "group", "network"}},
		{"the kernel doesn't answer", all, nil, network.Host{Name: "deaf"}, lvs, "", "", "no netlink", []string{"root", "kvm", "libvirt", "programs", "group", "network warning"}},
		{"D-Bus doesn't answer", all, nil, network.Host{Networkd: network.Networkd{Unknown: "no D-Bus"}}, lvs, "", "", "no D-Bus", []string{"root", "kvm", "libvirt", "programs", "group", "network warning"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			name, text := "dev/kvm", ""
			if tt.flags != "" {
				name, text = "proc/cpuinfo", "processor\t: 0\nflags\t\t: "+tt.flags+"\n"
			}
			if err := errors.Join(os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755), os.WriteFile(filepath.Join(root, name), []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
			list := OfHost(t.Context(), Host{
				Tool: answers{
					"vgs": tt.vgs, "vgs vg_name": `{"report":[{"vg":[{"vg_name":"vg0"},{"vg_name":"idle"},{"vg_name":"dogless"}]}]}`, "lsblk": tt.tran,
					"lvmconfig":  "devices {\n\tuse_devicesfile=0\n\tdevicesfile=\"system.devices\"\n\tglobal_filter=[\"a|.*|\"]\n\tscan_lvs=0\n}\n",
					"lvmlockctl": "VG vg0 lock_type=sanlock c6o9\nLS sanlock lvm_vg0\nVG dogless lock_type=sanlock c6o8\n",
					"sanlock":    fmt.Sprintf("daemon 8d2c.kvm1\n    our_host_name=8d2c.kvm1\n    use_watchdog=%d\n    high_priority=1\n", map[bool]int{true: 0, false: 1}[strings.Contains(tt.vgs, "dogless")]),
				}, Root: root,
				Facts: func(context.Context) (plan.TargetFacts, error) { return tt.facts, tt.err },
				Network: func(context.Context) (network.Host, error) {
					if tt.net.Name == "deaf" {
						return network.Host{}, errors.New("no netlink")
					}
					return tt.net, nil
				},
			})
			if got := found(list); !slices.Equal(got, tt.want) {
				t.Errorf("found %q; want %q", got, tt.want)
			}
			if all := fmt.Sprintf("%+v", list); !strings.Contains(all, tt.says) {
				t.Errorf("want %q in %s", tt.says, all)
			}
		})
	}
}

// TestOfHostByUser: to an ordinary user all that root alone can see looks broken, and
// isn't judged.
func TestOfHostByUser(t *testing.T) {
	fixtures.Tool(t, "vgs")
	fixtures.Tool(t, "qemu-img")
	fixtures.Tool(t, "guestfish")
	list := OfHost(t.Context(), Host{
		Tool: answers{}, Root: t.TempDir(), UID: 1000,
		Facts:   func(context.Context) (plan.TargetFacts, error) { return plan.TargetFacts{}, errors.New("no socket") },
		Network: func(context.Context) (network.Host, error) { return network.Host{}, errors.New("no D-Bus") },
	})
	if got, want := found(list), []string{"root blocker", "programs"}; !slices.Equal(got, want) {
		t.Errorf("found %q; want %q", got, want)
	}
}

// TestScanning: what LVM would take for this host's, by its configuration.
func TestScanning(t *testing.T) {
	const open = "\tglobal_filter=[\"a|.*|\"]\n"
	for _, tt := range []struct {
		name, conf string
		file       bool
		network    bool
		want       string
	}{
		{"as it comes", open + "\tscan_lvs=0\n", false, false, ""},
		{"with LUNs", open + "\tscan_lvs=0\n", false, true, "lvm-devices note"},
		{"into volumes", open + "\tscan_lvs=1\n", false, false, "lvm-devices warning"},
		{"a filter", "\tglobal_filter=[\"a|^/dev/sda|\",\"r|.*|\"]\n\tscan_lvs=1\n", false, true, "lvm-devices"},
		{"a devices file", open + "\tuse_devicesfile=1\n\tdevicesfile=\"own\"\n", true, true, "lvm-devices"},
		{"a devices file that isn't used", open + "\tuse_devicesfile=0\n\tdevicesfile=\"own\"\n", true, true, "lvm-devices note"},
		{"a devices file that isn't there", open + "\tuse_devicesfile=1\n\tdevicesfile=\"own\"\n", false, true, "lvm-devices note"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if dir := filepath.Join(root, "etc/lvm/devices"); tt.file {
				if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "own"), nil, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			v := &stay{Host: Host{Root: root, Tool: answers{"lvmconfig": "devices {\n" + tt.conf + "}\n"}}}
			v.scanning(t.Context(), tt.network)
			if got := strings.Join(found(v.notes), ", "); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// TestAsleep: groups that lvm.conf has this host not activate.
func TestAsleep(t *testing.T) {
	for conf, want := range map[string]string{
		"":                                       "",
		`volume_list=["vg0"]`:                    "",
		`volume_list=["x","vg0/a"]`:              "",
		`volume_list=["@web"]`:                   "",
		`volume_list="vg0"`:                      "",
		`volume_list=["x","vg01"]`:               "none can be made there",
		`auto_activation_volume_list=[]`:         "won't find its disks",
		`auto_activation_volume_list=["x","@*"]`: "",
	} {
		v := &stay{Host: Host{Tool: answers{"lvmconfig activation": "activation {\n\t" + conf + "\n}\n"}}}
		v.asleep(t.Context(), []volume.Group{{Sharing: volume.Sharing{Name: "vg0"}}, {Sharing: volume.Sharing{Name: "shut"}, Shut: true}})
		if got := fmt.Sprint(v.notes); len(v.notes) > 1 || (len(v.notes) == 0) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: found %s; want %q", conf, got, want)
		}
	}
}
