//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	lv "libvirt.org/go/libvirt"

	"slipway.dev/services/node/internal/hyper"
)

// eventLoop starts libvirt's event loop once in a process: the loop must run before the first connection is made, and cannot be
// stopped.
var eventLoop = sync.OnceValue(func() error {
	if err := lv.EventRegisterDefaultImpl(); err != nil {
		return err
	}
	go func() {
		for {
			if err := lv.EventRunDefaultImpl(); err != nil {
				slog.Error("libvirt event loop", "err", err)
				return
			}
		}
	}()
	return nil
})

// conn is a connection that reconnects. A reconnect waits for the calls on the old connection, because libvirt frees its data.
type conn struct {
	uri string

	mu     sync.RWMutex
	c      *lv.Connect
	closed bool
}

// chooseURI returns the URI of libvirt, which is chosen once for a root.
func (c *Config) chooseURI() (string, error) {
	var kept struct{ URI string }
	switch err := c.load("libvirt.json", &kept); {
	case err == nil && c.URI != "" && kept.URI != c.URI:
		return "", fmt.Errorf("libvirt: machines of this root live in %s, not in %s", kept.URI, c.URI)
	case err == nil:
		return kept.URI, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	kept.URI = c.URI
	if kept.URI == "" {
		if kept.URI = c.embedURI(); answers() {
			kept.URI = uriSystem
		}
	}
	return kept.URI, c.keep("libvirt.json", kept)
}

// answers reports whether a system libvirtd answers.
func answers() bool {
	for _, s := range []string{"/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"} {
		if _, err := os.Stat(s); err != nil {
			continue
		}
		if c, err := lv.NewConnect(uriSystem); err == nil {
			_, _ = c.Close()
			return true
		}
	}
	return false
}

func dial(uri string) (*conn, error) {
	if err := eventLoop(); err != nil {
		return nil, fmt.Errorf("libvirt event loop: %w", err)
	}
	c := &conn{uri: uri}
	return c, c.connect()
}

// awaitPredecessor waits for the end of a previous process on the root of an embedded libvirt. That process holds the lock until
// its end, even after it has closed libvirt, and a libvirt that fails to get the lock cannot try again in its process.
func awaitPredecessor(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		pid, err := lockOwner(filepath.Join(dir, "run", "qemu", "driver.pid"))
		if err != nil || pid == 0 || pid == os.Getpid() {
			return err
		}
		if err := pause(ctx); err != nil {
			return hyper.ErrUnavailable.With("process %d uses the same directory", pid).Wrap(err)
		}
	}
}

// lockOwner returns the process that holds the lock of a file, or 0 without one. It reads the kernel's list instead of
// opening the file, because closing the file would drop a lock of our own.
func lockOwner(path string) (int, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, nil
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, err
	}
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(sys.Dev), unix.Minor(sys.Dev), sys.Ino)
	for l := range strings.Lines(string(locks)) {
		if f := strings.Fields(l); len(f) > 5 && f[1] == "POSIX" && f[5] == want {
			return strconv.Atoi(f[4])
		}
	}
	return 0, nil
}

// connect makes or replaces the connection; the caller holds mu, or no other goroutine has c yet.
func (c *conn) connect() error {
	if c.c != nil {
		_, _ = c.c.Close()
		c.c = nil
	}
	n, err := lv.NewConnect(c.uri)
	if err != nil {
		return hyper.ErrUnavailable.Wrap(fmt.Errorf("connect %s: %w", c.uri, err))
	}
	if c.uri == uriSystem {
		if err := n.SetKeepAlive(5, 3); err != nil { // a daemon that hangs is a lost one after 15 seconds
			_, _ = n.Close()
			return hyper.ErrUnavailable.Wrap(err)
		}
	}
	c.c = n
	return nil
}

// do runs a call. If the connection is lost, do reconnects and runs the call, which is idempotent, once more.
func (c *conn) do(ctx context.Context, call func(*lv.Connect) error) error {
	for again := false; ; again = true {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.mu.RLock()
		used, closed := c.c, c.closed
		var err error
		if used != nil && !closed {
			err = call(used)
		}
		alive := used != nil && isAlive(used)
		c.mu.RUnlock()
		switch {
		case closed:
			return hyper.ErrUnavailable.With("the driver is closed")
		case alive:
			return err
		case again:
			return hyper.ErrUnavailable.Wrap(errors.Join(errors.New("connection lost"), err))
		}
		if err := c.revive(used); err != nil {
			return err
		}
	}
}

// revive replaces a dead connection, unless another caller has done so already.
func (c *conn) revive(dead *lv.Connect) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.c != dead {
		return nil
	}
	return c.connect()
}

func (c *conn) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.c == nil {
		return nil
	}
	_, err := c.c.Close()
	c.c = nil
	return err
}

func isAlive(c *lv.Connect) bool {
	alive, err := c.IsAlive()
	return err == nil && alive
}

// settle waits until an embedded libvirt has found its running machines again, which it does in threads of its own: to close
// libvirt meanwhile would crash the process. settle polls instead of waiting in libvirt, because libvirt 9 can fail for 30
// seconds to wake a caller that waits for the job of a dead machine.
func (c *conn) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c.do(ctx, func(c *lv.Connect) error {
		running, err := c.ListAllDomains(lv.CONNECT_LIST_DOMAINS_ACTIVE)
		if err != nil {
			return fmt.Errorf("list domains: %w", err)
		}
		defer func() {
			for i := range running {
				_ = running[i].Free()
			}
		}()
		for i := range running {
			for busy(&running[i]) {
				if err := pause(ctx); err != nil {
					return hyper.ErrUnavailable.With("the hypervisor is still looking for its machines").Wrap(err)
				}
			}
		}
		return nil
	})
}

// busy reports whether libvirt works on a running domain.
func busy(dom *lv.Domain) bool {
	info, err := dom.GetControlInfo(0)
	return err == nil && (info.State == lv.DOMAIN_CONTROL_JOB || info.State == lv.DOMAIN_CONTROL_OCCUPIED)
}

// pause waits between two polls.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

func is(err error, code lv.ErrorNumber) bool {
	e, ok := errors.AsType[lv.Error](err)
	return ok && e.Code == code
}
