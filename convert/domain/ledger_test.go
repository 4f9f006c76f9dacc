package domain

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"esxodus/convert/ledger"
	"esxodus/inventory"
)

// TestLedgerIsComplete sets every field that the model has, found by
// reflection, and wants each in the ledger once: a field that is added to the
// inventory and forgotten here fails it.
func TestLedgerIsComplete(t *testing.T) {
	tests := []struct {
		name string
		set  func(*inventory.VM, *Options)
	}{
		{name: "all set", set: func(*inventory.VM, *Options) {}},
		{name: "linux", set: func(vm *inventory.VM, _ *Options) { vm.GuestID = "ubuntu64Guest" }},
		{name: "efi windows", set: func(vm *inventory.VM, o *Options) { vm.GuestID, vm.Firmware = "windows9_64Guest", inventory.EFI }},
		{name: "legacy", set: func(vm *inventory.VM, o *Options) { vm.GuestID = "winXPProGuest" }},
		{name: "disk left behind", set: func(_ *inventory.VM, o *Options) { o.Disks = nil }},
		{name: "attached", set: func(vm *inventory.VM, o *Options) {
			o.Network = options(vm).Network
		}},
		{name: "good values", set: func(vm *inventory.VM, o *Options) {
			o.VirtType, o.HostMHz = "kvm", 2000
			vm.BIOSUUID, vm.GenerationID, vm.ClockOffset = web().BIOSUUID, web().BIOSUUID, "60"
			vm.NICs[0].MAC, vm.NICs[0].Model = "00:50:56:00:00:01", "vmxnet3"
			vm.CPU = inventory.CPU{Count: 4, CoresPerSocket: 2, HotAdd: true, HotRemove: true, ReservationMHz: 1, LimitMHz: 9, Shares: 4000, SharesLevel: "normal", Affinity: []int{1}, Masked: true}
			vm.Memory.SharesLevel, vm.AutoStart.StartAction = "normal", "powerOn"
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vm := &inventory.VM{}
			fill(reflect.ValueOf(vm).Elem(), new(int))
			o := options(vm)
			o.VirtType, o.Network.Attachments = "qemu", nil
			tt.set(vm, &o)
			r, err := New(vm, &inventory.Host{Name: "esx", AutoStart: inventory.AutoStartDefaults{Enabled: true}}, o)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			for _, e := range r.Ledger {
				got[e.Property]++
				checkEntry(t, e)
			}
			want := leaves(reflect.ValueOf(*vm), "")
			for _, p := range want {
				if got[p] != 1 && got[p+"[0]"] != 1 {
					t.Errorf("%s: %d entries in the ledger; want 1", p, got[p])
				}
			}
			for p := range got {
				if !slices.Contains(want, p) && !slices.Contains(want, strings.TrimSuffix(p, "[0]")) {
					t.Errorf("%s: in the ledger, but no field of the model", p)
				}
			}
		})
	}
}

func checkEntry(t *testing.T, e ledger.Entry) {
	t.Helper()
	switch {
	case e.Source == "":
		t.Errorf("%s: no source value", e.Property)
	case e.Fate == ledger.Mapped && e.Target == "", e.Fate == ledger.Changed && (e.Target == "" || e.Reason == ""), e.Fate == ledger.Dropped && (e.Target != "" || e.Reason == ""):
		t.Errorf("%+v: target or reason doesn't fit the fate", e)
	}
}

// fill sets v and all below it to something that is not zero.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range v.Fields() {
			fill(f, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"some.key": "value"}))
	case reflect.String:
		v.SetString(fmt.Sprintf("text%d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(3)
	default:
		panic("no filler for " + v.Kind().String())
	}
}

// leaves lists the properties below v as the ledger names them.
func leaves(v reflect.Value, prefix string) []string {
	switch v.Kind() {
	case reflect.Pointer:
		return leaves(v.Elem(), prefix)
	case reflect.Map:
		var all []string
		for _, k := range v.MapKeys() {
			all = append(all, prefix+"["+k.String()+"]")
		}
		return all
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Struct {
			return []string{prefix}
		}
		var all []string
		for i := range v.Len() {
			all = append(all, leaves(v.Index(i), prefix+"["+key(v.Index(i).Interface(), i)+"]")...)
		}
		return all
	case reflect.Struct:
		var all []string
		for field, value := range v.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			path := name
			if prefix != "" {
				path = prefix + "." + name
			}
			all = append(all, leaves(value, path)...)
		}
		return all
	default:
		return []string{prefix}
	}
}

// key is how the ledger tells the elements of a list apart.
func key(v any, i int) string {
	switch v := v.(type) {
	case interface{ Address() string }:
		return v.Address()
	case inventory.Controller:
		return fmt.Sprintf("%s%d", v.Class, v.Bus)
	case inventory.NIC:
		return ethernet(v)
	case inventory.Snapshot:
		return v.ID
	case inventory.File:
		return v.Path
	case inventory.Port:
		return fmt.Sprint(v.Index)
	}
	return fmt.Sprint(i)
}
