package run_test

import (
	"context"
	"errors"
	"testing"

	"slipway.dev/pkg/run"
)

func TestAllStopsTogether(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	waits := run.Func(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	fails := run.Func(func(context.Context) error { return boom })
	ends := run.Func(func(context.Context) error { return nil })

	if err := run.All(t.Context(), waits, fails); !errors.Is(err, boom) {
		t.Errorf("failure: %v", err)
	}
	if err := run.All(t.Context(), waits, ends); err == nil {
		t.Error("a service that ended unexpectedly counts as healthy")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run.All(ctx, waits, waits); err != nil {
		t.Errorf("normal end: %v", err)
	}
}
