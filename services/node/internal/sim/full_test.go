package sim_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/hypertest"
	"slipway.dev/services/node/internal/sim"
)

// fullDir names, for the process that TestFullDisk starts, the directory of its machines.
const fullDir = "SLIPWAY_TEST_FULL_DIR"

// TestFullDisk: a change that cannot be kept does not count, half of its record does not stay, and changes are kept again
// when there is room. The process limits the size of its files, so the test runs in a process of its own.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDir); dir != "" {
		onFullDisk(t, dir)
		return
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.count=1") //#nosec G204,G702 -- the test itself
	cmd.Env = append(os.Environ(), fullDir+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func onFullDisk(t *testing.T, dir string) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ) // a write beyond the limit fails with EFBIG instead
	d, ctx := open(t, sim.Config{Dir: dir}), context.Background()
	m := hypertest.Machine(t, d)
	path := filepath.Join(dir, "machines.log")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var free syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &free); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes uint64) {
		t.Helper()
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: free.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(uint64(len(before)) + 10) // room for a part of a record
	for name, err := range map[string]error{
		"define": d.Define(ctx, m), "disk": d.EnsureDisk(ctx, m.UUID, hyper.Disk{Name: "more", SizeMiB: 8}), "remove": d.Remove(ctx, m.UUID),
	} {
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("%s: %v, want EFBIG", name, err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the log is %q, was %q: %v", after, before, err)
	}
	if st, err := d.State(ctx, m.UUID); err != nil || st.Power != hyper.Absent {
		t.Errorf("a definition counts that was not kept: %s %v", st.Power, err)
	}
	limit(free.Cur)
	if err := d.Define(ctx, m); err != nil {
		t.Errorf("with room again: %v", err)
	}
	again := open(t, sim.Config{Dir: dir})
	if st, err := again.State(ctx, m.UUID); err != nil || st.Power != hyper.Off {
		t.Errorf("after a restart: %s %v", st.Power, err)
	}
}
