package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"esxodus/disk"
)

// Throttle is what an admin asks of the copies that are under way at that moment.
type Throttle struct {
	At          time.Time `json:"at"`
	Rate        *int64    `json:"rate,omitempty"`        // bytes a second of a program, 0 for no limit
	Connections *int      `json:"connections,omitempty"` // of a program, 0 for what it finds to be best
}

func (d StateDir) throttle() string { return filepath.Join(string(d), "throttle") }

// SetThrottle asks it of those that are under way.
func (d StateDir) SetThrottle(t Throttle) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := disk.WriteFile(d.throttle(), append(b, '\n')); err != nil {
		return fmt.Errorf("throttle: %w", err)
	}
	return nil
}

// Throttle is what was asked last, the zero value for nothing.
func (d StateDir) Throttle() (t Throttle, err error) {
	b, err := disk.ReadRegular(d.throttle())
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return Throttle{}, fmt.Errorf("throttle: %w", err)
	}
	return t, nil
}

// Heed gives what is asked from now on to a function, until it is stopped, and the first
// error of reading it. It looks each second. What is new is told by another time, not by
// a later one: clocks are set back, and that of another host may be ahead.
func (d StateDir) Heed(give func(Throttle, error)) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	before, _ := d.Throttle() // an error is told when it is looked at again
	last, failed := before.At, false
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			t, err := d.Throttle()
			switch {
			case err != nil && !failed:
				give(t, err)
			case err == nil && !t.At.Equal(last):
				last = t.At
				give(t, nil)
			}
			failed = err != nil
		}
	}()
	return func() { close(done); <-ended }
}
