package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"esxodus/convert/converttest"
	"esxodus/convert/plan"
	"esxodus/convert/runs"
	"esxodus/disk"
	"esxodus/inventory"
)

// verified is what Verify finds of a world's run.
func verified(t *testing.T, w *converttest.World, source bool) (*Verification, error) {
	t.Helper()
	j := w.Open()
	defer func() { _ = j.Close() }()
	return Verify(t.Context(), j, effects(w), source)
}

// finished is a run of a world whose steps are all done.
func finished(t *testing.T, make func(*testing.T) *converttest.World) (*converttest.World, *plan.VMPlan) {
	t.Helper()
	w := make(t)
	j := w.Create()
	if err, _ := apply(t.Context(), w, j); err != nil {
		t.Fatal(err)
	}
	return w, &j.Job().VM
}

// flip flips a bit of a file, which looks as if nobody had written to it.
func flip(t *testing.T, path string, off int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b := converttest.Must(os.ReadFile(path))
	b[off] ^= 16
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Chtimes(path, time.Time{}, info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

// TestVerify: volumes that nobody wrote to are what was copied, or what the
// conversion left, and so is the source. Nothing is changed.
func TestVerify(t *testing.T) {
	t.Parallel()
	for name, make := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, vm := finished(t, make)
			before := w.Open()
			records := len(before.Records())
			_ = before.Close()
			for _, source := range []bool{false, true} {
				v, err := verified(t, w, source)
				if err != nil || len(v.Disks) != len(vm.Disks) || v.Name != "web" {
					t.Fatalf("Verify = %+v, %v", v, err)
				}
				for i, d := range v.Disks {
					converted := int64(1)
					if name == "kept" {
						converted = 0
					}
					if d.Error != "" || d.Differs() || d.Volume.Bytes != vm.Disks[i].Volume.Size || d.Volume.Converted != converted {
						t.Errorf("%s: %+v of %+v; want all of it the same, %d blocks as converted", d.Address, d, d.Volume, converted)
					}
					if (d.Source != nil) != source || source && (d.Source.Bytes != vm.Disks[i].Size || d.Source.Blocks == 0 || (d.Source.Unused > 0) != (i == 1)) {
						t.Errorf("%s: source %+v; want it compared: %v", d.Address, d.Source, source)
					}
				}
			}
			w.CheckDone()
			after := w.Open()
			defer func() { _ = after.Close() }()
			if got := len(after.Records()); got != records {
				t.Errorf("the journal has %d records, and had %d", got, records)
			}
		})
	}
}

// TestVerifyFlipped: a flipped bit is named by disk, side and offset; where both
// sides are read, by its byte.
func TestVerifyFlipped(t *testing.T) {
	t.Parallel()
	const at = disk.BlockSize + 77 // of the source's second disk
	block := disk.Range{Offset: disk.BlockSize, Length: disk.BlockSize}
	exact := disk.Range{Offset: at, Length: 1}
	for _, tt := range []struct {
		name           string
		flip           func(t *testing.T, w *converttest.World, vm *plan.VMPlan)
		volume, source bool // differs
		apart, agree   bool
	}{
		{"volume", func(t *testing.T, _ *converttest.World, vm *plan.VMPlan) {
			t.Helper()
			flip(t, vm.Disks[1].Volume.Path, at)
		}, true, false, true, false},
		{"source", func(_ *testing.T, w *converttest.World, vm *plan.VMPlan) { w.Flip(vm.Disks[1].Path, at) }, false, true, true, false},
		{"both", func(t *testing.T, w *converttest.World, vm *plan.VMPlan) {
			t.Helper()
			flip(t, vm.Disks[1].Volume.Path, at)
			w.Flip(vm.Disks[1].Path, at)
		}, true, true, false, true},
		{"digest", func(t *testing.T, w *converttest.World, _ *plan.VMPlan) {
			t.Helper()
			j := w.Open()
			defer func() { _ = j.Close() }()
			flip(t, j.Path("scsi0:1.digests"), 4096+32+5)
		}, true, true, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, vm := finished(t, converttest.New)
			tt.flip(t, w, vm)
			v, err := verified(t, w, true)
			if err != nil || v.Disks[0].Differs() || v.Disks[0].Error != "" {
				t.Fatalf("Verify = %+v, %v; want the first disk the same", v, err)
			}
			got := v.Disks[1]
			for what, side := range map[string]struct {
				*Side

				differs bool
			}{"volume": {got.Volume, tt.volume}, "source": {got.Source, tt.source}} {
				switch {
				case !side.differs && side.Differ != 0:
					t.Errorf("%s: %+v; want it the same", what, side.Side)
				case side.differs && (side.Differ != 1 || side.First != block || side.Written != nil):
					t.Errorf("%s: %+v; want one block that differs, %+v", what, side.Side, block)
				}
			}
			if tt.apart != (got.Apart != nil) || tt.apart && *got.Apart != exact || got.Agree != tt.agree {
				t.Errorf("apart %+v, agree %v; want %+v: %v, agree %v", got.Apart, got.Agree, exact, tt.apart, tt.agree)
			}
		})
	}
}

// TestVerifyConverted: what the conversion wrote is compared with what it left, and
// never called different from the source.
func TestVerifyConverted(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) *converttest.World{"relaid": converttest.NewRelaid, "edited": converttest.NewEdited} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, vm := finished(t, make)
			d := vm.Disks[0]
			flip(t, d.Volume.Path, d.Volume.Size-1) // the conversion's last byte
			v, err := verified(t, w, true)
			if err != nil || v.Disks[1].Differs() {
				t.Fatalf("Verify = %+v, %v", v, err)
			}
			got := v.Disks[0]
			if got.Volume.Differ != 1 || got.Volume.First.Offset+got.Volume.First.Length != d.Volume.Size || got.Source.Differ != 0 || got.Apart != nil || got.Agree {
				t.Errorf("%+v, volume %+v, source %+v; want the last block alone to differ, on the volume", got, got.Volume, got.Source)
			}
			j := w.Open()
			later := j.Path("scsi0:0.converted.digests")
			_ = j.Close()
			if err := os.Remove(later); err != nil {
				t.Fatal(err)
			}
			if v, err = verified(t, w, false); err != nil || v.Disks[0].Volume != nil || !strings.Contains(v.Disks[0].Error, "isn't on record") || !strings.Contains(v.Disks[0].Error, later) {
				t.Errorf("without the later digests: %+v, %v; want nothing claimed", v, err)
			}
		})
	}
}

// TestVerifyCrashedMerge: a merge that dies at any of its effects and is done again
// leaves a record that fits.
func TestVerifyCrashedMerge(t *testing.T) {
	t.Parallel()
	for what, times := range map[string]int{"merged": 2, "mapped": 2} {
		for n := range times {
			t.Run(fmt.Sprint(what, n), func(t *testing.T) {
				t.Parallel()
				w := converttest.NewEdited(t)
				left := n
				w.Tick = func(at string) error {
					if at == what {
						if left--; left < 0 {
							panic(converttest.Crash{})
						}
					}
					return nil
				}
				if err, crashed := apply(t.Context(), w, w.Create()); !crashed {
					t.Fatalf("Apply = %v; want a crash", err)
				}
				w.Tick = func(string) error { return nil }
				if _, err := verified(t, w, false); err == nil || !strings.Contains(err.Error(), "`esxodus resume web` goes on") {
					t.Errorf("Verify in the midst of the merge = %v; want a refusal", err)
				}
				if err, _ := apply(t.Context(), w, w.Open()); err != nil {
					t.Fatal(err)
				}
				v, err := verified(t, w, true)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range v.Disks {
					if d.Error != "" || d.Differs() || d.Volume.Converted != 1 {
						t.Errorf("%+v of %+v; want it the same", d, d.Volume)
					}
				}
			})
		}
	}
}

// TestVerifyDamaged: digests that can't be used are named, claim nothing, and leave
// the other disk's result.
func TestVerifyDamaged(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(path string, b []byte) error
		want   string
	}{
		"cut":       {func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)-1], 0o600) }, "damaged: "},
		"another's": {func(path string, b []byte) error { b[40] ^= 1; return os.WriteFile(path, b, 0o600) }, disk.ErrOtherPlan.Error()},
		"gone":      {func(path string, _ []byte) error { return os.Remove(path) }, "no such file"},
		"a hole":    {func(path string, b []byte) error { clear(b[4096:4128]); return os.WriteFile(path, b, 0o600) }, "the digests are damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := finished(t, converttest.New)
			j := w.Open()
			path := j.Path("scsi0:0.digests")
			_ = j.Close()
			if err := tt.change(path, converttest.Must(os.ReadFile(path))); err != nil {
				t.Fatal(err)
			}
			v, err := verified(t, w, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Disks[0]; got.Volume != nil || got.Source != nil || !strings.Contains(got.Error, tt.want) || got.Digests != path || strings.Contains(got.Error, "copy from the start") {
				t.Errorf("Verify = %+v; want no result, and %q", got, tt.want)
			}
			if got := v.Disks[1]; got.Error != "" || got.Differs() || got.Source == nil {
				t.Errorf("the other disk: %+v; want it the same", got)
			}
		})
	}
}

// TestVerifyRefuses: where a comparison would say nothing, there is none.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	running := func(name string) func(*testing.T, *converttest.World, *runs.Journal) {
		return func(_ *testing.T, w *converttest.World, j *runs.Journal) {
			w.Domains = []plan.KnownDomain{{Name: name, Active: true, Disks: []string{j.Job().VM.Disks[1].Volume.Path}}}
		}
	}
	for name, tt := range map[string]struct {
		change func(*testing.T, *converttest.World, *runs.Journal)
		want   string
	}{
		"running":       {running("web"), "the domain web is running"},
		"running other": {running("other"), "the domain other is running"},
		"source on": {func(_ *testing.T, w *converttest.World, _ *runs.Journal) {
			w.Host.VMs[0].Power = inventory.PoweredOn
		}, "leave out --source"},
		"source away": {func(_ *testing.T, w *converttest.World, _ *runs.Journal) { w.Host.VMs = nil }, "is no longer on esx1; leave out --source"},
		"committed": {func(t *testing.T, w *converttest.World, j *runs.Journal) {
			t.Helper()
			if err := Commit(t.Context(), j, effects(w)); err != nil {
				t.Fatal(err)
			}
		}, "is committed"},
		"rolled back": {func(t *testing.T, w *converttest.World, j *runs.Journal) {
			t.Helper()
			if err := Rollback(t.Context(), j, effects(w)); err != nil {
				t.Fatal(err)
			}
		}, "is rolled back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := finished(t, converttest.New)
			j := w.Open()
			defer func() { _ = j.Close() }()
			tt.change(t, w, j)
			if v, err := Verify(t.Context(), j, effects(w), true); err == nil || v != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Verify = %+v, %v; want %q", v, err, tt.want)
			}
		})
	}
	t.Run("not copied", func(t *testing.T) {
		t.Parallel()
		w := converttest.New(t)
		w.Tick = func(what string) error {
			if what == "read" {
				return errRead
			}
			return nil
		}
		if err, _ := apply(t.Context(), w, w.Create()); !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		if v, err := verified(t, w, false); err == nil || v != nil || !strings.Contains(err.Error(), "scsi0:0 isn't copied yet: `esxodus resume web` goes on") {
			t.Errorf("Verify = %+v, %v; want it refused", v, err)
		}
	})
}

// TestVerifyMeanwhile: what a domain writes that is started meanwhile is no finding;
// what it wrote before is a difference, with the time of the last write.
func TestVerifyMeanwhile(t *testing.T) {
	t.Parallel()
	w, vm := finished(t, converttest.New)
	path := vm.Disks[0].Volume.Path
	b := converttest.Must(os.ReadFile(path))
	b[0] ^= 1
	at := time.Now().Add(time.Hour).Truncate(time.Second)
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Chtimes(path, at, at)); err != nil {
		t.Fatal(err)
	}
	v, err := verified(t, w, false)
	if err != nil || v.Disks[0].Volume.Differ != 1 || v.Disks[0].Volume.Written == nil || !v.Disks[0].Volume.Written.Equal(at) {
		t.Fatalf("Verify = %+v, %v; want a difference, written at %v", v, err, at)
	}
	w.Tick = func(what string) error {
		if what == "read" {
			w.Domains = []plan.KnownDomain{{Name: "web", Active: true, Disks: []string{path}}}
		}
		return nil
	}
	if v, err := verified(t, w, true); err == nil || v != nil || !strings.Contains(err.Error(), "the domain web is running") {
		t.Errorf("Verify, with the domain started meanwhile = %+v, %v; want no result", v, err)
	}
}

// TestVerifyStops: an interrupt ends it with its cause, and a source that fails
// takes nothing from what was found of the volume.
func TestVerifyStops(t *testing.T) {
	t.Parallel()
	w, _ := finished(t, converttest.New)
	w.Tick = func(what string) error {
		if what == "read" {
			return errRead
		}
		return nil
	}
	v, err := verified(t, w, true)
	if err != nil || v.Disks[0].Volume == nil || v.Disks[0].Differs() || v.Disks[0].Source != nil || !strings.Contains(v.Disks[0].Error, errRead.Error()) {
		t.Errorf("Verify with a source that fails = %+v, %v; want the volume's result, and the error", v, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	w.Tick = func(what string) error {
		if what == "read" {
			cancel(context.Canceled)
		}
		return nil
	}
	j := w.Open()
	defer func() { _ = j.Close() }()
	if v, err := Verify(ctx, j, effects(w), true); v != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Verify, cancelled = %+v, %v; want the cause", v, err)
	}
}

// TestVerifyChangedFiles: files of the source that are other ones by now are named,
// whether their bytes are the same or not.
func TestVerifyChangedFiles(t *testing.T) {
	t.Parallel()
	w := converttest.New(t)
	h, e := &versionedHost{World: w}, effects(w)
	e.Host = h
	j := w.Create()
	defer func() { _ = j.Close() }()
	if err := Apply(t.Context(), j, e); err != nil {
		t.Fatal(err)
	}
	h.tuesday.Store(true)
	v, err := Verify(t.Context(), j, e, true)
	want := "it was [ds] web/web.vmdk: last modified on Monday, and is [ds] web/web.vmdk: last modified on Tuesday"
	if err != nil || v.Disks[0].Differs() || len(v.Disks[0].Source.Changed) != 1 || v.Disks[0].Source.Changed[0] != want {
		t.Errorf("Verify = %+v, %v; want the same bytes, and %q", v, err, want)
	}
}
