package proofs

import (
	"strconv"
	"strings"
	"testing"

	"esxodus/fixtures/machine"
)

// grow gives a running guest a larger disk, as virsh blockresize does. Two
// commands later the root has the space; there is no partition to move, nothing
// of the loader's is touched, and it still boots.
func grow(t *testing.T, s *subject, m *machine.Machine, bus machine.Bus) {
	t.Helper()
	disk := "/dev/vda"
	if bus == machine.VirtioSCSI {
		disk = "/dev/sda"
	}
	// Sector 0 and 2 to 7 are the loader's; 1 is LVM's label.
	sectors := "dd if=" + disk + " bs=512 count=8 iflag=direct status=none"
	loader := "(" + sectors + " | head -c 512; " + sectors + " | tail -c 3072) | md5sum"
	before, had := m.Must(loader), rootSize(t, m)
	const more = 2 << 30
	size := s.plan.Layout.Disks[0].Size + more
	m.Resize(0, size)
	m.Must("for i in $(seq 30); do [ $(blockdev --getsize64 " + disk + ") = " + strconv.FormatInt(size, 10) + " ] && exit; sleep 1; done; exit 1")
	m.Must("pvresize " + disk)
	root := m.Must("findmnt -n -o SOURCE /")
	if out, status := m.RunFor("lvextend -r -l +100%FREE "+root, machine.BootPatience); status != 0 {
		t.Fatalf("lvextend: status %d: %s", status, out)
	}
	if got := rootSize(t, m); got < had+more*9/10 {
		t.Errorf("the root has %d bytes, had %d: want %d more", got, had, int64(more))
	}
	if after := m.Must(loader); after != before {
		t.Errorf("the loader's sectors have changed: %s, had %s", after, before)
	}
	m.Must("head -c 1M /dev/urandom >/root/grown && sync")
	sum := m.Must("md5sum /root/grown")
	m.Reboot("Loading Linux")
	m.Login("root", "esxodus")
	if got := m.Must("md5sum /root/grown"); got != sum {
		t.Errorf("/root/grown = %s, want %s", got, sum)
	}
	if got := rootSize(t, m); got < had+more*9/10 {
		t.Errorf("after the reboot the root has %d bytes, had %d", got, had)
	}
	m.Must("vgck && lilo -t -v")
}

// rootSize is the size of the root file system in bytes.
func rootSize(t *testing.T, m *machine.Machine) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(m.Must("df --output=size -B1 / | tail -n 1")), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
