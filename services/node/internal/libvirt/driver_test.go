//go:build libvirt_dlopen

package libvirt_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/hypertest"
	"slipway.dev/services/node/internal/libvirt"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child))
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("libvirt.org/go/libvirt.EventRunDefaultImpl"),
		goleak.IgnoreAnyFunction("libvirt.org/go/libvirt._Cfunc_virEventRunDefaultImplWrapper"),
		goleak.IgnoreAnyFunction("slipway.dev/services/node/internal/libvirt.reap"),
		goleak.IgnoreAnyFunction("os/signal.loop")) // these live as long as the process
}

const stack = "stack-a"

func open(t *testing.T, cfg libvirt.Config) *libvirt.Driver {
	t.Helper()
	if cfg.StackID == "" {
		cfg.StackID = stack
	}
	cfg.NodeID = ""
	d, err := libvirt.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func traces(root string) func(t *testing.T, id uuid.UUID) []string {
	return func(t *testing.T, id uuid.UUID) (left []string) {
		t.Helper()
		err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			if err == nil && strings.Contains(path, id.String()) {
				left = append(left, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
}

func lose(root string) func(t *testing.T, d hyper.Driver, id uuid.UUID, disk string) {
	return func(t *testing.T, _ hyper.Driver, id uuid.UUID, disk string) {
		t.Helper()
		if err := os.Remove(filepath.Join(root, "machines", id.String(), disk+".qcow2")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSuite runs against libvirt's own test driver: definitions and states are libvirt's, nothing is executed.
func TestSuite(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := open(t, libvirt.Config{Root: root, URI: "test:///default", NoNetworks: true})
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	hypertest.Run(t, func(*testing.T) hyper.Driver { return d }, hypertest.Options{
		StackID:   stack,
		Traces:    traces(root),
		Lose:      lose(root),
		Unsampled: true,
		Dir:       func(*testing.T) string { return root },
		Foreign: func(t *testing.T, _ hyper.Driver) uuid.UUID {
			c, err := lv.NewConnect("test:///default")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = c.Close() })
			dom, err := c.LookupDomainByName("test") // always there, always running
			if err != nil {
				t.Fatal(err)
			}
			defer dom.Free()
			raw, err := dom.GetUUID()
			if err != nil {
				t.Fatal(err)
			}
			return uuid.UUID(raw)
		},
	})
}

func TestClosed(t *testing.T) {
	t.Parallel()
	d := open(t, libvirt.Config{Root: t.TempDir(), URI: "test:///default", NoNetworks: true})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.List(context.Background()); !errors.Is(err, hyper.ErrUnavailable) {
		t.Errorf("list: %v", err)
	}
}

func TestFilesAreClosedToOthers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := open(t, libvirt.Config{Root: root, URI: "test:///default", NoNetworks: true})
	t.Cleanup(func() { _ = d.Close() })
	m, ctx := hypertest.Machine(t, d), context.Background()
	if err := errors.Join(d.Define(ctx, m), d.Start(ctx, m.UUID)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"root.qcow2", "seed.iso", "console.log"} {
		st, err := os.Stat(filepath.Join(root, "machines", m.UUID.String(), name))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
}
