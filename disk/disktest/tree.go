package disktest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Tree is every file below a directory: its path, and all that a user can see of
// it but for its times, in one line. What can't be read is there with its error.
func Tree(dir string) map[string]string {
	tree := map[string]string{}
	_ = filepath.WalkDir(dir+"/", func(path string, d fs.DirEntry, err error) error { // passes none on
		name := strings.TrimPrefix(path, dir)
		if err != nil {
			tree[name] += " " + strings.ReplaceAll(err.Error(), dir, "")
			return nil
		}
		line, err := describe(path, d)
		if err != nil {
			line += " " + strings.ReplaceAll(err.Error(), dir, "")
		}
		tree[name] = line
		return nil
	})
	return tree
}

// describe is a file's line.
func describe(path string, d fs.DirEntry) (string, error) {
	info, err := d.Info()
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.ErrUnsupported
	}
	line := fmt.Sprintf("%v %d links, %d:%d, inode %d, %d bytes", info.Mode(), st.Nlink, st.Uid, st.Gid, st.Ino, info.Size())
	switch {
	case info.Mode().IsRegular():
		sum, err := contentSum(path)
		if err != nil {
			return line, err
		}
		line += ", " + sum
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return line + " to " + target, err
	}
	attributes, err := attributesSum(path)
	return line + attributes, err
}

// contentSum is a digest of a file's content.
func contentSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)[:8]), errors.Join(err, f.Close())
}

// attributesSum is a digest of a file's extended attributes, "" if it has none.
func attributesSum(path string) (string, error) {
	names := make([]byte, 1<<16)
	n, err := unix.Listxattr(path, names)
	if n == 0 || err != nil {
		return "", err
	}
	sum := sha256.New()
	value := make([]byte, 1<<16)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", fmt.Errorf("attribute %s: %w", name, err)
		}
		fmt.Fprintf(sum, "%q=%q", name, value[:n])
	}
	return ", attributes " + hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// TreeDiff says in which files two trees differ, a line for each.
func TreeDiff(want, got map[string]string) []string {
	var diff []string
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if want[name] != got[name] {
			diff = append(diff, fmt.Sprintf("%s: got %q; want %q", name, got[name], want[name]))
		}
	}
	return diff
}
