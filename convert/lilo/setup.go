package lilo

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Setup is what the loader must know of a kernel: the header of the boot
// protocol (the kernel's Documentation/arch/x86/boot.rst).
type Setup struct {
	Version    uint16 // of the protocol: 0x20f is 2.15
	Size       int64  // bytes of the real-mode part, boot sector included
	InitrdMax  uint32 // the last byte that an initrd may occupy
	CmdlineMax uint32 // bytes, without the NUL
	Preferred  uint64 // where it wants to be
	Need       uint32 // bytes from there on that it uses before it knows the memory map; 0 before 2.10
}

// Offsets in the boot protocol's header.
const (
	setupSects    = 0x1f1
	setupMagic    = 0x202
	setupVersion  = 0x206
	setupFlags    = 0x211
	setupInitrd   = 0x22c
	setupCmdline  = 0x238
	setupPref     = 0x258
	setupInitSize = 0x260
	setupEnd      = 0x264

	loadedHigh = 1

	// maxSetup is the most that the loader has room for.
	maxSetup = 65 * SectorSize
	kernelAt = 0x100000
)

// ErrKernel is wrapped by what [ParseSetup] returns for what is no kernel.
var ErrKernel = errors.New("no Linux kernel (bzImage) that this loader can start")

// ParseSetup decodes the head of a kernel, at least its first 612 bytes. It
// returns an error that wraps [ErrKernel] for anything but a bzImage of boot
// protocol 2.02 (Linux 2.4) or later.
func ParseSetup(b []byte) (Setup, error) {
	le := binary.LittleEndian
	if len(b) < setupEnd || string(b[setupMagic:setupMagic+4]) != "HdrS" {
		return Setup{}, fmt.Errorf("%w: no setup header", ErrKernel)
	}
	s := Setup{
		Version:    le.Uint16(b[setupVersion:]),
		Size:       (int64(b[setupSects]) + 1) * SectorSize,
		InitrdMax:  0x37ffffff,
		CmdlineMax: 255,
	}
	if s.Size == SectorSize {
		s.Size = 5 * SectorSize
	}
	switch {
	case s.Version < 0x202:
		return Setup{}, fmt.Errorf("%w: boot protocol %d.%02d", ErrKernel, s.Version>>8, s.Version&0xff)
	case b[setupFlags]&loadedHigh == 0:
		return Setup{}, fmt.Errorf("%w: a zImage", ErrKernel)
	case s.Size > maxSetup:
		return Setup{}, fmt.Errorf("%w: setup code of %d bytes", ErrKernel, s.Size)
	}
	if s.Version >= 0x203 {
		s.InitrdMax = le.Uint32(b[setupInitrd:])
	}
	if s.Version >= 0x206 {
		s.CmdlineMax = le.Uint32(b[setupCmdline:])
	}
	if s.Version >= 0x20a {
		s.Preferred, s.Need = le.Uint64(b[setupPref:]), le.Uint32(b[setupInitSize:])
	}
	return s, nil
}

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
