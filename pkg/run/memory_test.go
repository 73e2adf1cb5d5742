package run //nolint:testpackage // the bound is a function of files

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for name, tt := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"unknown":       {nil, 2 * gib},
		"large machine": {map[string]string{"proc/meminfo": "MemTotal: 67108864 kB\nMemFree: 1 kB\n"}, 2 * gib},
		"small machine": {map[string]string{"proc/meminfo": "MemTotal: 1048576 kB\n"}, gib / 2},
		"no group":      {map[string]string{"sys/fs/cgroup/memory.max": "max\n"}, 2 * gib},
		"group":         {map[string]string{"sys/fs/cgroup/memory.max": "1000000000\n"}, 900_000_000},
		"old group":     {map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000000\n"}, 900_000_000},
		"nonsense":      {map[string]string{"proc/meminfo": "x", "sys/fs/cgroup/memory.max": "0"}, 2 * gib},
	} {
		root := t.TempDir()
		for path, text := range tt.files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := memoryLimit(root); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
