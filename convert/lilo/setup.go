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
