package journal_test

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
)

// fullRoot names, for the process that TestFullDisk starts, the directory of its journal.
const fullRoot = "SLIPWAY_TEST_FULL_ROOT"

// TestFullDisk: a command that cannot be recorded is refused and does not count, half of its line does not stay, and commands are
// accepted again when there is room. The process limits the size of its files, so the test runs in a process of its own.
func TestFullDisk(t *testing.T) {
	if root := os.Getenv(fullRoot); root != "" {
		onFullDisk(t, root)
		return
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.count=1") //#nosec G204,G702 -- the test itself
	cmd.Env = append(os.Environ(), fullRoot+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func onFullDisk(t *testing.T, root string) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ) // a write beyond the limit fails with EFBIG instead
	first, second := uuid.New(), uuid.New()
	j := open(t, root, time.Now())
	if err := j.Accept(first, at(1)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "fences.log")
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
	limit(uint64(len(before)) + 10) // room for a part of a line
	for name, accept := range map[string]func() error{
		"a newer command": func() error { return j.Accept(first, at(2)) },
		"another machine": func() error { return j.Accept(second, at(1)) },
		"a removal":       func() error { return j.AcceptRemoval(first, at(3)) },
	} {
		if err := accept(); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("%s: %v, want EFBIG", name, err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the log is %q, was %q: %v", after, before, err)
	}
	if j.Fence(first) != 1 || j.Fence(second) != 0 || j.Removed(first) {
		t.Error("a command counts that was not recorded")
	}
	limit(free.Cur)
	if err := j.Accept(first, at(2)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if j = open(t, root, time.Now()); j.Fence(first) != 2 {
		t.Errorf("after a restart: fence %d, want 2", j.Fence(first))
	}
}
