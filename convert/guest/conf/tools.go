package conf

import (
	"path"
	"strconv"
	"strings"
)

// ToolsFiles is what a record says is installed.
type ToolsFiles struct {
	Files map[string]int64 // when each was written, in seconds since 1970; 0 unknown, or edited
	Dirs  map[string]bool  // directories that the installer made
}

// ParseTools reads the installer's record: a log of lines "file PATH [TIME]",
// "modified PATH" and "directory PATH", which later lines take back with
// remove_file and remove_directory. Answers to its questions are in it, too
// (vmware-install.pl of VMware Tools 10.0.5, db_load).
func ParseTools(b []byte) ToolsFiles {
	t := ToolsFiles{Files: map[string]int64{}, Dirs: map[string]bool{}}
	for line := range strings.Lines(string(b)) {
		verb, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var when int64
		if at := strings.LastIndexByte(name, ' '); verb == "file" && at > 0 {
			if n, err := strconv.ParseUint(name[at+1:], 10, 62); err == nil {
				name, when = name[:at], int64(n)
			}
		}
		if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
			continue
		}
		switch verb {
		case "file":
			t.Files[name] = when
		case "modified":
			if _, ok := t.Files[name]; ok {
				t.Files[name] = Edited
			}
		case "remove_file":
			delete(t.Files, name)
		case "directory":
			t.Dirs[name] = true
		case "remove_directory":
			delete(t.Dirs, name)
		}
	}
	return t
}

// Edited marks a recorded file that its user changed and asked to keep.
const Edited = -1
