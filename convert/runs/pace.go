package runs

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Pace is how far the program that is at work on a VM has got. It is told about once a
// second, for who looks on from elsewhere, and means nothing to what is done.
type Pace struct {
	At    time.Time `json:"at"`
	What  string    `json:"what"`            // the step in words, or what is measured
	Done  int64     `json:"done,omitempty"`  // bytes
	Total int64     `json:"total,omitempty"` // 0 where there is no measure
	Rate  int64     `json:"rate,omitempty"`  // bytes a second, lately
}

// Left says about how long the work goes on; 0 where that isn't known.
func (p *Pace) Left() time.Duration {
	if p.Rate <= 0 || p.Total <= p.Done {
		return 0
	}
	return time.Duration(float64(p.Total-p.Done) / float64(p.Rate) * float64(time.Second)).Round(time.Second)
}

// paceFile has it, in a run's directory.
const paceFile = "pace"

// mostPace bounds what is read of it.
const mostPace = 64 << 10

// Tell writes how far the work on a VM is, whole or not at all. It need not survive a
// power cut.
func (d StateDir) Tell(name string, p Pace) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	path := filepath.Join(d.Dir(name), paceFile)
	f, err := os.CreateTemp(filepath.Dir(path), paceFile+".")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("telling how far %s is: %w", name, err)
	}
	return nil
}

// pace reads it; nil where nothing was told, or nothing that makes sense.
func (d StateDir) pace(name string) *Pace {
	f, err := os.Open(filepath.Join(d.Dir(name), paceFile))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, mostPace))
	p := new(Pace)
	if err != nil || json.Unmarshal(b, p) != nil || p.Done < 0 || p.Total < 0 || p.Done > p.Total {
		return nil
	}
	return p
}
