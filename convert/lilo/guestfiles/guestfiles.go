// Package guestfiles holds what goes into a guest together with the program
// lilo: its manual page, and the hooks and units by which it runs whenever a kernel
// or an initrd has changed.
package guestfiles

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"strings"
)

//go:embed files
var files embed.FS

// File returns one of the files by its name: "lilo.8", "lilo.8.gz" (the same,
// compressed, always with the same bytes), or a hook by the directory that it
// belongs to ("postinst.d/zz-runlilo"), or as "hooks/zz-runlilo", "hooks/runlilo",
// "hooks/95-lilo.install" and "hooks/lilo.init"; or a unit of systemd as
// "units/lilo.service".
func File(name string) ([]byte, error) {
	plain, compressed := strings.CutSuffix(name, ".gz")
	path := "files/" + plain
	if dir, hook, ok := strings.Cut(plain, "/"); ok && strings.HasSuffix(dir, ".d") {
		path = "files/hooks/" + hook
	}
	b, err := files.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("file for guests %q: %w", name, err)
	}
	if !compressed {
		return b, nil
	}
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
