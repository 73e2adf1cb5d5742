package pgembed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lock locks dir against other processes of this program. The kernel releases the lock when the process ends, for any reason.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another process uses the database in %s", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// stopLeftover waits for the end of the server of a killed predecessor; the lock proves that the predecessor is dead. The kernel
// has sent that server a signal to stop; stopLeftover sends another if the server takes long.
func stopLeftover(ctx context.Context, data string) error {
	pidFile := filepath.Join(data, "postmaster.pid")
	raw, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Split(string(raw), "\n")
	defer removeSocketDir(lines)
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 1 {
		return nil // half written: PostgreSQL itself says what is wrong
	}
	if !isServerOf(pid, data) {
		if syscall.Kill(pid, 0) == nil {
			// Another process has the pid now, and PostgreSQL would take that process for a server of this directory.
			return os.Remove(pidFile)
		}
		return nil
	}
	for _, try := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{0, 3 * time.Second}, {syscall.SIGINT, 30 * time.Second}, {syscall.SIGQUIT, 20 * time.Second}} {
		if try.sig != 0 {
			_ = syscall.Kill(pid, try.sig) // it may be gone by now
		}
		if gone(ctx, pid, data, try.wait) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return fmt.Errorf("a PostgreSQL that was left over (pid %d) does not stop: end it by hand", pid)
}

func gone(ctx context.Context, pid int, data string, wait time.Duration) bool {
	ctx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for isServerOf(pid, data) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// isServerOf reports whether pid is a running postgres that was started for data. It reads the command line, which root in a
// container may read for processes of any user, unlike the links in /proc.
func isServerOf(pid int, data string) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.Split(string(raw), "\x00")
	i := slices.Index(args, "-D")
	if filepath.Base(args[0]) != "postgres" || i < 0 || i+1 == len(args) {
		return false
	}
	theirs, err := os.Stat(args[i+1])
	if err != nil {
		return false
	}
	ours, err := os.Stat(data)
	return err == nil && os.SameFile(theirs, ours)
}
