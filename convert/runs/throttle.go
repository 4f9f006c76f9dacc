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

// throttles are the files of what is asked, one for each thing: an admin who asks for one
// and, before anybody has looked, for the other wants both.
func (d StateDir) throttles() [2]string {
	return [2]string{filepath.Join(string(d), "throttle.rate"), filepath.Join(string(d), "throttle.connections")}
}

// SetThrottle asks it of those that are under way.
func (d StateDir) SetThrottle(t Throttle) error {
	files := d.throttles()
	var errs []error
	if t.Rate != nil {
		errs = append(errs, ask(files[0], Throttle{At: t.At, Rate: t.Rate}))
	}
	if t.Connections != nil {
		errs = append(errs, ask(files[1], Throttle{At: t.At, Connections: t.Connections}))
	}
	return errors.Join(errs...)
}

func ask(file string, t Throttle) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := disk.WriteFile(file, append(b, '\n')); err != nil {
		return fmt.Errorf("throttle: %w", err)
	}
	return nil
}

// asked is what was asked last in a file, the zero value for nothing.
func asked(file string) (t Throttle, err error) {
	b, err := disk.ReadRegular(file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return Throttle{}, fmt.Errorf("throttle: %s: %w", file, err)
	}
	return t, nil
}

// ear listens to one file. What is new is told by another time, not by a later one:
// clocks are set back, and that of another host may be ahead.
type ear struct {
	file   string
	last   time.Time
	failed bool
}

func (e *ear) listen(give func(Throttle, error)) {
	t, err := asked(e.file)
	switch {
	case err != nil && !e.failed:
		give(t, err)
	case err == nil && !t.At.Equal(e.last):
		e.last = t.At
		give(t, nil)
	}
	e.failed = err != nil
}

// Heed gives what is asked from now on to a function, until it is stopped, and the first
// error of reading it. It looks each second.
func (d StateDir) Heed(give func(Throttle, error)) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	var ears []*ear
	for _, file := range d.throttles() {
		before, _ := asked(file) // an error is told when it is looked at again
		ears = append(ears, &ear{file: file, last: before.At})
	}
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
			for _, e := range ears {
				e.listen(give)
			}
		}
	}()
	return func() { close(done); <-ended }
}
