// Package facts reads the properties of a Linux host.
package facts

import (
	"bufio"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/node/internal/hyper"
)

// Read returns the facts that need no hypervisor. Storage is that of the file system of root.
func Read(root string) (hyper.Facts, error) {
	f := hyper.Facts{
		CPUs:     runtime.NumCPU(),
		CPUModel: field("/proc/cpuinfo", "model name", ":"),
		Kernel:   line("/proc/sys/kernel/osrelease"),
		OS:       strings.Trim(field("/etc/os-release", "PRETTY_NAME", "="), `"`),
		BootID:   line("/proc/sys/kernel/random/boot_id"),
	}
	kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal", ":"), " kB"), 10, 64)
	if err != nil {
		return f, err
	}
	f.MemoryMiB = kib >> 10
	if f.OS == "" {
		f.OS = "Linux"
	}
	if f.CPUModel == "" {
		f.CPUModel = runtime.GOARCH
	}
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(root, &st) }); err != nil {
		return f, err
	}
	f.StorageTotalMiB = clamp.Int64(st.Blocks) * st.Bsize >> 20
	f.StorageFreeMiB = clamp.Int64(st.Bavail) * st.Bsize >> 20
	return f, nil
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func line(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// field returns the value of the first line with the key name.
func field(path, name, sep string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), sep); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
