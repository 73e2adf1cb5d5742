package run

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// maxMemory is the greatest limit that LimitMemory sets, in bytes.
const maxMemory = 2 << 30

// LimitMemory sets the limit of memory near which the garbage collector runs more often: the smallest of 2 GiB, half of the machine's
// memory and nine tenths of the control group's. It does nothing if the environment has a GOMEMLIMIT.
func LimitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit("/"))
	}
}

// memoryLimit returns the limit for a process of the machine whose file system begins at root.
func memoryLimit(root string) int64 {
	limit := min(int64(maxMemory), total(filepath.Join(root, "proc/meminfo"))/2)
	for _, file := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 { // "max" is no limit
			limit = min(limit, n/10*9)
		}
	}
	return limit
}

// total returns the memory of the machine in bytes, from /proc/meminfo, or the greatest number if that is unreadable.
func total(meminfo string) int64 {
	text, err := os.ReadFile(meminfo)
	if err != nil {
		return math.MaxInt64
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 || fields[0] != "MemTotal:" {
		return math.MaxInt64
	}
	kib, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || kib <= 0 || kib > math.MaxInt64>>10 {
		return math.MaxInt64
	}
	return kib << 10
}
