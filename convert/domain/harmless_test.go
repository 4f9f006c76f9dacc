package domain

import (
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

// TestProofOfEdited: a plan's domain may be edited. Whatever file, device or
// address of the host it names, its boot proof has none of them.
func TestProofOfEdited(t *testing.T) {
	t.Parallel()
	const xml = `<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"><name>web</name><uuid>b0075000-0000-4000-8000-000000000002</uuid>
<os><type arch="x86_64" machine="q35">hvm</type><loader readonly="no" type="pflash">/FIRMWARE.fd</loader></os>
<devices>
<disk type="block" device="disk"><driver name="qemu" type="raw"/><source dev="/HOST/lv"/><target dev="vda" bus="virtio"/></disk>
<channel type="file"><source path="/HOST/channel"/><log file="/HOST/channel.log"/><target type="virtio" name="a"/></channel>
<channel type="tcp"><source mode="connect" host="192.0.2.1" service="1"/><protocol type="raw"/><target type="virtio" name="b"/></channel>
<channel type="unix"><source mode="connect" path="/HOST/agent"/><target type="virtio" name="c"/></channel>
<serial type="file"><source path="/HOST/serial"/><log file="/HOST/serial.log"/><target port="0"/></serial>
<parallel type="dev"><source path="/HOST/parport"/><log file="/HOST/parport.log"/><target port="0"/></parallel>
<input type="passthrough" bus="virtio"><source evdev="/HOST/event1"/></input>
<input type="evdev"><source dev="/HOST/event2"/></input>
<input type="tablet" bus="usb"/>
<tpm model="tpm-crb"><backend type="passthrough"><device path="/HOST/tpm0"/></backend></tpm>
<tpm model="tpm-crb"><backend type="external"><source type="unix" mode="connect" path="/HOST/swtpm"/></backend></tpm>
<rng model="virtio"><backend model="egd" type="tcp"><source mode="connect" host="192.0.2.1" service="2"/></backend></rng>
<rng model="virtio"><backend model="random">/HOST/random</backend></rng>
<sound model="ich9"><audio id="1"/></sound>
<audio id="1" type="file" path="/HOST/sound.wav"/>
<memory model="nvdimm"><source><path>/HOST/nvdimm</path></source><target><size unit="MiB">64</size><node>0</node></target></memory>
<memory model="dimm"><target><size unit="MiB">64</size><node>0</node></target></memory>
<pstore backend="acpi-erst"><path>/HOST/pstore</path><size unit="KiB">64</size></pstore>
<shmem name="x"><model type="ivshmem-plain"/></shmem>
<filesystem type="mount"><source dir="/HOST/share"/><target dir="share"/></filesystem>
</devices>
<qemu:commandline><qemu:arg value="-drive"/><qemu:arg value="file=/HOST/drive"/></qemu:commandline>
<qemu:override><qemu:device alias="x"><qemu:frontend><qemu:property name="file" type="string" value="/HOST/override"/></qemu:frontend></qemu:device></qemu:override>
</domain>`
	var dom libvirtxml.Domain
	if err := dom.Unmarshal(xml); err != nil {
		t.Fatal(err)
	}
	p, err := Proof(&dom, ProofOptions{Name: "p", UUID: "b0075000-0000-4000-8000-000000000001", Overlays: map[string]string{"vda": "/o/vda"}, ConsoleSocket: "/o/console"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"/HOST", "192.0.2.1", "qemu:", "shmem", "<audio", `readonly="no"`} {
		for line := range strings.Lines(text) {
			if strings.Contains(line, bad) {
				t.Errorf("the proof has %q: %s", bad, strings.TrimSpace(line))
			}
		}
	}
	for _, good := range []string{"/o/vda", "/o/console", `type="tablet"`, `model="dimm"`, `name="a"`, `name="b"`, `name="c"`, "/FIRMWARE.fd", "ich9"} {
		if !strings.Contains(text, good) {
			t.Errorf("the proof lacks %q:\n%s", good, text)
		}
	}
}
