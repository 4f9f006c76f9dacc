package install

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/dm-ioctl.h says of the request and of a target in its answer.
const (
	dmTableStatus  = 0xc138fd0c // DM_TABLE_STATUS
	dmHeader       = 312        // struct dm_ioctl
	dmTarget       = 40         // struct dm_target_spec
	dmStatusTable  = 1 << 4     // the table, not its state
	dmBufferFull   = 1 << 8
	dmMaxTable     = 4 << 20
	dmDataSize     = 12
	dmDataStart    = 16
	dmTargetCount  = 20
	dmFlags        = 28
	dmDevice       = 40
	dmMajorVersion = 4
)

// target is a line of a device-mapper table. Numbers are sectors.
type target struct {
	start, count uint64
	kind         string
	params       string
}

// linear reads a linear target's parameters: "254:0 2048".
func (t target) linear() (device, uint64, error) {
	dev, offset, _ := strings.Cut(t.params, " ")
	d, err := parseDevice(dev)
	if err != nil {
		return device{}, 0, fmt.Errorf("device-mapper's table: %w", err)
	}
	n, err := strconv.ParseUint(offset, 10, 64)
	if err != nil {
		return device{}, 0, fmt.Errorf("device-mapper's table: the offset %.40q is not a number", offset)
	}
	return d, n, nil
}

// table asks device-mapper for the table of a device.
func (s *System) table(d device) ([]target, error) {
	control, err := s.Dev.OpenFile("mapper/control", unix.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/mapper/control, to ask for the table of device %s: %w", d, err)
	}
	defer control.Close() //nolint:errcheck // nothing was written
	for size := 16 << 10; size <= dmMaxTable; size *= 4 {
		buf := make([]byte, size)
		binary.NativeEndian.PutUint32(buf, dmMajorVersion)
		binary.NativeEndian.PutUint32(buf[dmDataSize:], uint32(size))
		binary.NativeEndian.PutUint32(buf[dmDataStart:], dmHeader)
		binary.NativeEndian.PutUint32(buf[dmFlags:], dmStatusTable)
		binary.NativeEndian.PutUint64(buf[dmDevice:], unix.Mkdev(d.major, d.minor))
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), dmTableStatus, uintptr(unsafe.Pointer(&buf[0])))
		runtime.KeepAlive(buf)
		if errno != 0 {
			return nil, fmt.Errorf("device-mapper's table of device %s: %w", d, errno)
		}
		if binary.NativeEndian.Uint32(buf[dmFlags:])&dmBufferFull == 0 {
			return parseTable(buf)
		}
	}
	return nil, fmt.Errorf("device-mapper's table of device %s: longer than %d bytes", d, dmMaxTable)
}

// parseTable reads the kernel's answer.
func parseTable(buf []byte) ([]target, error) {
	errShort := errors.New("device-mapper's table: cut short")
	if len(buf) < dmHeader {
		return nil, errShort
	}
	count := binary.NativeEndian.Uint32(buf[dmTargetCount:])
	start := binary.NativeEndian.Uint32(buf[dmDataStart:])
	if int64(start) > int64(len(buf)) {
		return nil, errShort
	}
	buf = buf[start:]
	var table []target
	var at uint32
	for range count {
		if int64(at)+dmTarget > int64(len(buf)) {
			return nil, errShort
		}
		spec := buf[at:]
		t := target{
			start:  binary.NativeEndian.Uint64(spec),
			count:  binary.NativeEndian.Uint64(spec[8:]),
			kind:   cString(spec[24:40]),
			params: cString(spec[dmTarget:]),
		}
		table = append(table, t)
		// The offset of the next one is from the first one.
		at = binary.NativeEndian.Uint32(spec[20:])
	}
	if len(table) == 0 {
		return nil, errors.New("device-mapper's table is empty: the volume is not active")
	}
	return table, nil
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
