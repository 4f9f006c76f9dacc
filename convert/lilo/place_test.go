package lilo

import (
	"errors"
	"fmt"
)

// Where the loader, which is in assembly, puts an initrd: said again, for its
// tests to hold it to.

// kernelAt is where a kernel's protected-mode part is loaded.
const kernelAt = 0x100000

// Region is memory that the BIOS (INT 15h, E820h) calls usable.
type Region struct{ Start, Length uint64 }

// Errors of [Place].
var (
	ErrKernelRoom = errors.New("not enough memory for the kernel")
	ErrInitrdRoom = errors.New("not enough memory for the initrd")
)

// Floor returns the first address that the kernel doesn't use before it knows
// the memory map. rest is the size of the kernel's protected-mode part.
// A kernel of a protocol before 2.10 doesn't say what it needs; it unpacks
// itself from where it was loaded, and three times its size has been enough
// for all of them.
func (s *Setup) Floor(rest uint64) uint64 {
	if s.Need == 0 {
		return kernelAt + 3*rest
	}
	return max(max(s.Preferred, kernelAt)+uint64(s.Need), kernelAt+rest)
}

// Place returns where the initrd goes, as the loader finds it: as high as its
// last byte may lie (InitrdMax) in memory below 4 GiB, at the start of a page,
// above what the kernel uses. rest is the size of the kernel's protected-mode
// part, initrd that of the initrd, in bytes; without an initrd the address is 0.
// The error wraps [ErrKernelRoom] or [ErrInitrdRoom].
func (s *Setup) Place(ram []Region, rest, initrd uint64) (uint64, error) {
	floor := s.Floor(rest)
	room := false
	for _, r := range ram {
		room = room || r.Start <= kernelAt && r.Start+r.Length >= floor
	}
	if !room {
		return 0, fmt.Errorf("%w: it uses up to %#x", ErrKernelRoom, floor)
	}
	if initrd == 0 {
		return 0, nil
	}
	var best uint64
	for _, r := range ram {
		end := min(r.Start+r.Length, uint64(s.InitrdMax)+1)
		if end < initrd {
			continue
		}
		if at := (end - initrd) &^ 4095; at >= max(r.Start, floor) && at > best {
			best = at
		}
	}
	if best == 0 {
		return 0, fmt.Errorf("%w: %d bytes between %#x and %#x", ErrInitrdRoom, initrd, floor, s.InitrdMax)
	}
	return best, nil
}
