package facts_test

import (
	"testing"

	"slipway.dev/services/node/internal/facts"
)

func TestRead(t *testing.T) {
	t.Parallel()
	f, err := facts.Read(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if f.CPUs < 1 || f.CPUModel == "" || f.MemoryMiB < 1 || f.StorageTotalMiB < 1 || f.Kernel == "" || f.OS == "" || f.BootID == "" {
		t.Errorf("incomplete: %+v", f)
	}
	if _, err := facts.Read("/nonexistent"); err == nil {
		t.Error("no such root, and no error")
	}
}
