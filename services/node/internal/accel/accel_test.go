package accel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"slipway.dev/services/node/internal/hyper"
)

// TestGuest: the guest itself is right, for it gets through where nothing is accelerated.
func TestGuest(t *testing.T) {
	t.Parallel()
	qemu, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	if err := boot(context.Background(), qemu, hyper.AccelTCG); err != nil {
		t.Error(err)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	qemu, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	root, ctx := t.TempDir(), context.Background()
	found, err := Choose(ctx, "auto", qemu, root)
	if err != nil || (found.Accel != hyper.AccelKVM && found.Accel != hyper.AccelTCG) || found.Reason == "" {
		t.Fatalf("%+v %v", found, err)
	}
	t.Logf("%s: %s", found.Accel, found.Reason)
	if again, err := Choose(ctx, "auto", "/nonexistent", root); err != nil || again.Accel != hyper.AccelTCG {
		t.Errorf("another qemu was not looked at: %+v %v", again, err)
	}
	for _, want := range []hyper.Accel{hyper.AccelKVM, hyper.AccelTCG} {
		if got, err := Choose(ctx, string(want), "/nonexistent", root); err != nil || got.Accel != want {
			t.Errorf("asked for %s, got %+v %v", want, got, err)
		}
	}
	if _, err := Choose(ctx, "xen", qemu, root); !errors.Is(err, hyper.ErrInvalid) {
		t.Errorf("xen: %v", err)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	root := t.TempDir()
	if r, err := Choose(ctx, "auto", "/nonexistent", root); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(root, "accel.json")); err == nil {
		t.Error("a probe that was cut short was kept")
	}
}
