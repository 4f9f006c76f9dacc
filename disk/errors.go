package disk

import "fmt"

// ReadError is an error of an image, as against one of the target: it may go
// away when the copy is tried again.
type ReadError struct {
	Offset, Length int64 // of what was read of the image, bytes; 0 long if its extents were asked for
	Err            error
}

// Error names the place in the image.
func (e *ReadError) Error() string {
	if e.Length == 0 {
		return fmt.Sprintf("extents of the image from offset %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("reading %d bytes at image offset %d: %v", e.Length, e.Offset, e.Err)
}

// Unwrap returns the image's own error.
func (e *ReadError) Unwrap() error { return e.Err }

// DigestsError is an error of a copy's digest file, as against one of the image
// or the target. The target is as good as it was.
type DigestsError struct {
	Path string
	Err  error
}

// Error names the file.
func (e *DigestsError) Error() string { return fmt.Sprintf("digests %s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *DigestsError) Unwrap() error { return e.Err }

// UntrustedError says why what a file system, a swap space or a volume group
// records of its free space can't be relied on. All of it counts as used then; where a
// system is hibernated, which will go on with what it knew of all its disks, so do they.
type UntrustedError struct {
	Why    string
	Asleep bool
}

// Error is the reason alone.
func (e *UntrustedError) Error() string { return e.Why }
