package plan

import (
	"testing"

	"esxodus/convert/guest"
)

// TestLevel: a system that is built for newer processors than this host's is told of.
func TestLevel(t *testing.T) {
	for _, tt := range []struct {
		distro, version, virt string
		have                  int
		told                  bool
	}{
		{"rhel", "9.4", "kvm", 1, true},
		{"rocky", "9", "kvm", 2, false},
		{"rhel", "10.0", "kvm", 2, true},
		{"almalinux", "10.0", "kvm", 2, false},
		{"centos", "10", "kvm", 3, false},
		{"rhel", "9.4", "qemu", 1, false},
		{"rhel", "9.4", "kvm", 0, false},
		{"debian", "12", "kvm", 1, false},
		{"opensuse-leap", "16.0", "kvm", 1, true},
		{"opensuse-leap", "15.6", "kvm", 1, false},
		{"", "", "kvm", 1, false},
	} {
		g := &guest.Guest{Distro: tt.distro, Version: tt.version, PrettyName: tt.distro}
		if got := levelConcerns(g, tt.virt, TargetFacts{CPULevel: tt.have}); len(got) > 0 != tt.told {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}
