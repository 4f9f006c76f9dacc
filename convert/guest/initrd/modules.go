package initrd

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// loader is the file of an initrd of initramfs-tools in which its init, which
// reads all of conf/conf.d as shell, loads modules. The initrd's own index of
// modules stays as it is: it names files of the initrd, which may be
// decompressed ones.
const loader = "conf/conf.d/zzy-esxodus-modules"

// modules adds kernel modules with those that they need, and has them loaded,
// those that others need first. What is built into the kernel is left out.
func (b *builder) modules(kernel string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if kernel == "" || strings.ContainsAny(kernel, "/'\n") {
		return fmt.Errorf("%q can't be the version of a kernel", kernel)
	}
	dir := "/lib/modules/" + kernel
	order, err := b.order(dir, names)
	if err != nil {
		return err
	}
	if len(order) == 0 {
		return nil
	}
	var script strings.Builder
	script.WriteString("# esxodus: drivers for a disk on virtio, and for LVM.\n")
	for _, f := range order {
		if strings.ContainsAny(f, "'\n") || strings.Contains(f, "..") {
			return fmt.Errorf("%s/modules.dep names %q", dir, f)
		}
		file := path.Join(dir, f)
		body, mode, err := b.tree.read(file)
		if err != nil {
			return err
		}
		if err := b.put(file, mode.Perm(), body); err != nil {
			return err
		}
		if err := b.decompressor(file); err != nil {
			return err
		}
		fmt.Fprintf(&script, "/sbin/insmod '%s' 2>/dev/null || :\n", file)
	}
	if err := b.program("/sbin/insmod"); err != nil {
		return err
	}
	return b.put(loader, 0o644, []byte(script.String()))
}

// decompressor adds the library that insmod loads for a compressed module,
// where the guest has it: newer ones don't name it among what they need.
func (b *builder) decompressor(module string) error {
	var lib string
	switch path.Ext(module) {
	case ".xz":
		lib = "liblzma.so.5"
	case ".zst":
		lib = "libzstd.so.1"
	case ".gz":
		lib = "libz.so.1"
	default:
		return nil
	}
	if file, err := b.library("/sbin/insmod", lib, needs{class: elf.ELFCLASS64}); err == nil {
		return b.program(file)
	}
	return nil // the kernel may do it alone
}

// order lists the files of modules and of what they need, relative to dir, in
// the order of loading.
func (b *builder) order(dir string, names []string) ([]string, error) {
	text, _, err := b.tree.read(dir + "/modules.dep")
	// A kernel with all of it built in may have no such index.
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || !b.tree.exists(dir+"/modules.builtin")) {
		return nil, err
	}
	deps := parseModulesDep(string(text))
	builtin := map[string]bool{}
	if b.tree.exists(dir + "/modules.builtin") {
		text, _, err := b.tree.read(dir + "/modules.builtin")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			builtin[moduleName(strings.TrimSpace(line))] = true
		}
	}
	var files []string
	for _, name := range names {
		if of, ok := deps[moduleName(name)]; ok {
			files = append(files, of...)
		} else if !builtin[moduleName(name)] {
			return nil, fmt.Errorf("%s has no module %s", dir, name)
		}
	}
	var once []string
	for _, f := range files {
		if !slices.Contains(once, f) {
			once = append(once, f)
		}
	}
	return once, nil
}

// moduleName is the name of a module from its file's: virtio_blk.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// maxModules bounds what is read of modules.dep; kernels have some 5000.
const maxModules = 50_000

// parseModulesDep reads modules.dep(5): for each module its file and those of
// the modules that it needs, in the order of loading.
func parseModulesDep(text string) map[string][]string {
	deps := map[string][]string{}
	for line := range strings.Lines(text) {
		file, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || file == "" || len(deps) >= maxModules {
			continue
		}
		files := append([]string{file}, strings.Fields(needs)...)
		slices.Reverse(files) // the file lists them so that the last is to be loaded first
		deps[moduleName(file)] = files
	}
	return deps
}
