package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"esxodus/convert/converttest"
	"esxodus/convert/guest"
	"esxodus/convert/plan"
	"esxodus/convert/plan/plantest"
	"esxodus/convert/volume"
	"esxodus/disk/unused"
	"esxodus/inventory"
)

// usedPool is a large pool whose volumes have so many bytes.
func usedPool(virtual int64) *volume.Pool {
	p := pool(1<<50, 1<<30)
	p.Virtual = virtual
	return p
}

// TestRoom: a plan says what its storage has and what its VMs take of that, and a
// saved one nothing of it.
func TestRoom(t *testing.T) {
	t.Parallel()
	const free = 1 << 40
	for name, tt := range map[string]struct {
		storage volume.Facts
		blocked bool
		want    func(*plan.Sizes) plan.Room
	}{
		"files": {volume.Facts{Free: free, Sparse: true}, false, func(s *plan.Sizes) plan.Room {
			return plan.Room{Free: free, Written: s.Read(), Most: s.Target}
		}},
		"logical volumes": {volume.Facts{Free: free}, false, func(s *plan.Sizes) plan.Room {
			return plan.Room{Free: free, Written: s.Target, Most: s.Target}
		}},
		"thin volumes": {volume.Facts{Free: free, Pool: usedPool(1 << 20)}, false, func(s *plan.Sizes) plan.Room {
			return plan.Room{Free: free, Written: s.Read(), Most: s.Target, Pool: "vg0/pool", PoolSize: 1 << 50, Promised: 1<<20 + s.Target}
		}},
		"blocked": {volume.Facts{Free: free, Sparse: true}, true, func(*plan.Sizes) plan.Room { return plan.Room{Free: free} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := converttest.New(t)
			vm := &w.Host.VMs[0]
			if tt.blocked {
				vm.Power = inventory.PoweredOn
			}
			g := plantest.Debian(vm)
			g.Spaces = []unused.Space{{Where: "scsi0:1", Size: 4096, Unused: 4096}}
			p := converttest.Planned(t, plan.Facts{
				Host: &w.Host, Guests: map[string]guest.Guest{vm.ID: g}, Target: plan.TargetFacts{VirtTypes: []string{"qemu"}}, Storage: tt.storage,
			}, w.Options())
			want := tt.want(&p.VMs[0].Sizes)
			if diff := cmp.Diff(&want, p.Room); diff != "" {
				t.Errorf("the room (-want +got):\n%s", diff)
			}
			if s := p.VMs[0].Sizes; s.Read() == s.Provisioned {
				t.Error("nothing is left out, so that what is written can't be told from what there is")
			}
			if again := readAgain(t, p); again.Room != nil {
				t.Errorf("a saved plan has %+v", again.Room)
			}
		})
	}
}
