package domain

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"libvirt.org/go/libvirtxml"

	"esxodus/convert/guest"
	"esxodus/fixtures"
	"esxodus/inventory"
)

// init prints what a Linux guest sees of its machine. net_id is systemd's own
// code for predictable names.
const guestInit = `#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for m in $(cat /modules); do
	case $m in /virtio_pci.ko) insmod $m $VIRTIO ;; *) insmod $m ;; esac
done
n=0 # some controllers tell of their disks when they find the time
until [ $(ls -d /sys/block/sd* /sys/block/vd* 2>/dev/null | wc -l) -ge 2 ] || [ $n -ge 10 ]; do
	sleep 1
	n=$((n + 1))
done
echo "SEEN uuid $(cat /sys/class/dmi/id/product_uuid)"
echo "SEEN serial $(cat /sys/class/dmi/id/product_serial)"
for n in /sys/class/net/*; do
	[ -e $n/device ] || continue
	name=$(udevadm test-builtin net_id $n 2>/dev/null | sed -n 's/^ID_NET_NAME_\(ONBOARD\|SLOT\)=//p' | head -n 1)
	[ -n "$name" ] || name=$(udevadm test-builtin net_id $n 2>/dev/null | sed -n 's/^ID_NET_NAME_PATH=//p')
	echo "SEEN nic $(cat $n/address) $name"
done
for d in /sys/block/sd* /sys/block/vd*; do
	[ -e $d ] || continue
	page=$(tr -cd 'a-f0-9' <$d/device/vpd_pg80 2>/dev/null)
	echo "SEEN disk $(cat $d/size) $(cat $d/device/vendor $d/device/model 2>/dev/null | tr -s ' \n' '__') $page"
done
for v in /sys/bus/virtio/devices/*; do
	[ -e $v/driver ] && echo "SEEN virtio $(cat $v/../device) $(cut -c 33 $v/features)"
done
echo "SEEN end"
poweroff -f
`

// TestGuestSees boots the domain's proof in QEMU with a kernel of Debian's,
// and compares what the guest sees with what was promised: UUID, serial
// numbers, the order of disks, and the names of NICs.
func TestGuestSees(t *testing.T) {
	fixtures.Rung(t, "boot")
	initrd, kernel := guestImage(t)
	ids := regexp.MustCompile(`(?m)SEEN (.*?)\r?$`)
	tests := []struct {
		name string
		vm   *inventory.VM
		// virtio is for the kernel's command line: force_legacy keeps the new
		// driver to what an old one knows.
		virtio string
		unread string // the controllers of one whose disks nobody could look into
		// The lines of virtio devices have the PCI device's id and whether
		// device and driver agreed on virtio 1.0.
		want []string
	}{
		{name: "q35", vm: seen(), want: []string{
			"uuid 5c241f42-a87f-fa60-6af6-a46351ced0eb",
			"serial VMware-42 1f 24 5c 7f a8 60 fa-6a f6 a4 63 51 ce d0 eb",
			// Which is sda and which sdb is up to chance.
			"disk 2048 VMware_Virtual_disk_ 6000c2981a2b3c4d5e6f708192a3b4c5",
			"disk 4096 VMware_Virtual_disk_ 6000c2981a2b3c4d5e6f708192a3b4c6",
			"virtio 0x1041 1", "virtio 0x1041 1", "virtio 0x1048 1",
			"end",
		}},
		{name: "q35 for an old kernel", vm: func() *inventory.VM {
			vm := seen()
			vm.GuestID, vm.DiskEnableUUID = "debian8_64Guest", false
			return vm
		}(), virtio: "VIRTIO=force_legacy=1", want: []string{
			"uuid 5c241f42-a87f-fa60-6af6-a46351ced0eb",
			"serial VMware-42 1f 24 5c 7f a8 60 fa-6a f6 a4 63 51 ce d0 eb",
			"disk 2048 0x1af4_ ", "disk 4096 0x1af4_ ",
			"virtio 0x1000 0", "virtio 0x1000 0", "virtio 0x1001 0", "virtio 0x1001 0",
			"end",
		}},
		// Case G2: VMware's own devices, which QEMU has, for a guest that nobody could
		// look into.
		{name: "pvscsi and vmxnet3", vm: seen(), unread: "pvscsi", want: []string{
			"uuid 5c241f42-a87f-fa60-6af6-a46351ced0eb",
			"serial VMware-42 1f 24 5c 7f a8 60 fa-6a f6 a4 63 51 ce d0 eb",
			"disk 2048 VMware_Virtual_disk_ 6000c2981a2b3c4d5e6f708192a3b4c5",
			"disk 4096 VMware_Virtual_disk_ 6000c2981a2b3c4d5e6f708192a3b4c6",
			"end",
		}},
		{name: "LSI SAS 1068", vm: seen(), unread: "lsisas1068", want: []string{
			"uuid 5c241f42-a87f-fa60-6af6-a46351ced0eb",
			"serial VMware-42 1f 24 5c 7f a8 60 fa-6a f6 a4 63 51 ce d0 eb",
			"disk 2048 VMware_Virtual_disk_ 6000c2981a2b3c4d5e6f708192a3b4c5",
			"disk 4096 VMware_Virtual_disk_ 6000c2981a2b3c4d5e6f708192a3b4c6",
			"end",
		}},
		// SMBIOS 2.4 on VMware: the guest printed the bytes as they stand.
		{name: "pc of an old hardware version", vm: func() *inventory.VM {
			vm := seen()
			vm.GuestID, vm.HardwareVersion = "other24xLinux64Guest", 11
			return vm
		}(), want: []string{"uuid 421f245c-7fa8-60fa-6af6-a46351ced0eb", "serial VMware-42 1f 24 5c 7f a8 60 fa-6a f6 a4 63 51 ce d0 eb", "end"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := openDir(t)
			o := options(tt.vm)
			o.VirtType = "qemu"
			if tt.unread != "" {
				tt.vm.Controllers[0].Model, o.Guest = tt.unread, guest.Guest{}
			}
			r, err := New(tt.vm, nil, o)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Clone(tt.want)
			for _, n := range r.Domain.Devices.Interfaces {
				want = append(want, "nic "+n.MAC.Address+" "+predictable(r.Domain.OS.Type.Machine, n.Address))
			}
			out := boot(t, dir, r.Domain, kernel, initrd, tt.virtio)
			var got []string
			for _, m := range ids.FindAllStringSubmatch(out, -1) {
				got = append(got, m[1])
			}
			if r.Domain.OS.Type.Machine == pc { // IDE's serial numbers are QEMU's
				got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "disk") })
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("the guest saw\n\t%s\nwant\n\t%s\nconsole:\n%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"), out)
			}
		})
	}
}

// seen is a VM with all that a guest can see of its identity.
func seen() *inventory.VM {
	vm := web()
	vm.DiskEnableUUID = true
	vm.Disks[0].Capacity, vm.Disks[0].UUID = 1<<20, "6000C298-1a2b-3c4d-5e6f-708192a3b4c5"
	vm.Disks[1].Capacity, vm.Disks[1].UUID = 2<<20, "6000C298-1a2b-3c4d-5e6f-708192a3b4c6"
	vm.Memory.SizeMiB, vm.CPU.Count = 512, 2
	vm.NICs = []inventory.NIC{
		{Index: 0, Model: "vmxnet3", MAC: "00:50:56:00:00:01", PortGroup: "VM Network", PCISlot: 192},
		{Index: 1, Model: "e1000", MAC: "00:50:56:00:00:02", PortGroup: "VM Network", PCISlot: 33},
		{Index: 2, Model: "e1000e", MAC: "00:50:56:00:00:03", PortGroup: "VM Network", PCISlot: 224},
		{Index: 3, Model: "vmxnet3", MAC: "00:50:56:00:00:04", PortGroup: "VM Network", PCISlot: 1184},
	}
	return vm
}

// openDir is a directory that QEMU may use, which libvirt runs as another
// user. Its name is short: libvirt's sockets are deep below, and 108 bytes are
// the most for a socket's path.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dom") //nolint:usetesting // t.TempDir is long, and closed to others
	if err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// boot runs a domain's proof under libvirt's QEMU driver, embedded in virsh so
// that no daemon is needed, with a kernel of ours, and returns the console's
// text.
func boot(t *testing.T, dir string, dom *libvirtxml.Domain, kernel, initrd, options string) string {
	t.Helper()
	virsh, qemuImg := tool(t, "virsh"), tool(t, "qemu-img")
	o := ProofOptions{Name: dom.Name + "-seen", UUID: "b0075000-0000-4000-8000-000000000002", Overlays: map[string]string{}}
	for i, d := range dom.Devices.Disks {
		o.Overlays[d.Target.Dev] = filepath.Join(dir, d.Target.Dev+".qcow2")
		if out, err := exec.Command(qemuImg, "create", "-q", "-f", "qcow2", o.Overlays[d.Target.Dev], fmt.Sprintf("%dM", i+1)).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img: %v: %s", err, out)
		}
	}
	p, err := Proof(dom, o)
	if err != nil {
		t.Fatal(err)
	}
	p.UUID = dom.UUID // nothing else runs, and the guest shall see this one
	p.OS.Kernel, p.OS.Initrd, p.OS.Cmdline = kernel, initrd, "console=ttyS0 quiet panic=1 "+options
	console := filepath.Join(dir, "console")
	p.Devices.Serials[0].Source = &libvirtxml.DomainChardevSource{File: &libvirtxml.DomainChardevSourceFile{Path: console}}
	p.Devices.Consoles = nil
	text, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "domain.xml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(virsh, "-c", "qemu:///embed?root="+dir, fmt.Sprintf("create --validate %[1]s; event --domain %[2]s --event lifecycle --loop --timeout 1200; destroy %[2]s", path, p.Name))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return watch(t, console, cmd, ended, &said)
}

// watch reads the console until the guest is done, and sees to it that
// nothing is left running.
func watch(t *testing.T, console string, cmd *exec.Cmd, ended chan error, said *bytes.Buffer) string {
	t.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for {
		out, _ := os.ReadFile(console)
		done := bytes.Contains(out, []byte("SEEN end"))
		if done {
			time.Sleep(time.Second) // it powers itself off
		}
		if done || time.Now().After(deadline) {
			_ = cmd.Process.Signal(os.Interrupt) // ends the event loop; destroy follows
			select {
			case <-ended:
			case <-time.After(2 * time.Minute):
				_ = cmd.Process.Kill()
				<-ended
			}
			return string(out)
		}
		select {
		case err := <-ended:
			t.Fatalf("virsh: %v: %s", err, said)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// guestImage makes an initramfs of busybox, udevadm and the modules for the
// domain's devices, and returns it with a kernel. The kernel is the one that
// scripts/kernel.sh keeps.
func guestImage(t *testing.T) (initrd, kernel string) {
	t.Helper()
	cpio, busybox, udevadm := tool(t, "cpio"), tool(t, "busybox"), tool(t, "udevadm")
	cache := filepath.Join(cmp.Or(os.Getenv("ESXODUS_CACHE"), "../../.cache"), "kernel")
	kernel = filepath.Join(cache, "vmlinuz")
	if _, err := os.Stat(kernel); err != nil {
		if os.Getenv("CI") != "" || os.Getenv("ESXODUS_NEED_TOOLS") != "" {
			t.Fatalf("scripts/kernel.sh makes it: %v", err)
		}
		t.Skipf("scripts/kernel.sh makes it: %v", err)
	}
	dir, boot := t.TempDir(), openDir(t)
	put := func(name, from string) {
		t.Helper()
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("bin/busybox", busybox)
	put("bin/udevadm", udevadm)
	libs, err := exec.Command("ldd", udevadm).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, lib := range regexp.MustCompile(`/\S+`).FindAllString(string(libs), -1) {
		put(lib, lib)
	}
	var list strings.Builder
	for _, m := range modules(t, cache, "virtio_net", "e1000", "e1000e", "virtio_pci", "virtio_blk", "virtio_scsi", "vmw_pvscsi", "mptsas", "vmxnet3", "sd_mod", "8139cp") {
		put(filepath.Base(m), m)
		list.WriteString("/" + filepath.Base(m) + "\n")
	}
	for name, text := range map[string]string{"modules": list.String(), "init": guestInit, "bin/sh": ""} {
		if name == "bin/sh" {
			err = os.Symlink("busybox", filepath.Join(dir, name))
		} else {
			err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"proc", "sys", "dev", "run"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// libvirt changes the owner of what it starts: give it a copy.
	data, err := os.ReadFile(kernel)
	if err == nil {
		kernel = filepath.Join(boot, "kernel")
		err = os.WriteFile(kernel, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	initrd = filepath.Join(boot, "initrd")
	pack := exec.Command("sh", "-c", `cd "$1" && find . | "$2" -o -H newc --quiet >"$3"`, "sh", dir, cpio, initrd)
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	return initrd, kernel
}

// modules returns the files of modules and of what they depend on, in the
// order in which they load.
func modules(t *testing.T, cache string, names ...string) []string {
	t.Helper()
	deps, err := filepath.Glob(filepath.Join(cache, "lib/modules/*/modules.dep"))
	if err != nil || len(deps) != 1 {
		t.Fatalf("modules.dep under %s: %v, %v", cache, deps, err)
	}
	f, err := os.Open(deps[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	needs := map[string][]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		file, rest, _ := strings.Cut(s.Text(), ":")
		needs[file] = strings.Fields(rest)
	}
	var files []string
	add := func(file string) {
		if path := filepath.Join(filepath.Dir(deps[0]), file); !slices.Contains(files, path) {
			files = append(files, path)
		}
	}
	for _, name := range names {
		for file, before := range needs {
			if strings.TrimSuffix(filepath.Base(file), ".ko") != name {
				continue
			}
			slices.Reverse(before)
			for _, b := range before {
				add(b)
			}
			add(file)
		}
	}
	return files
}
