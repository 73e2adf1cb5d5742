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

// lock makes sure that no other process of ours uses dir. The kernel gives it back when we die, however we die.
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

// stopLeftover waits for the server of a predecessor that was killed; our lock proves that it is dead. That server has
// been told to stop by the kernel, and is told again when it takes long.
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
			// The pid went to somebody else, whom PostgreSQL would take for a server of this directory.
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

// isServerOf reports whether pid is a living postgres that was started for data. It reads the command line, which, unlike
// the links in /proc, a container's root may read of any user.
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
