// Package run starts and stops the services of a process, and handles its signals and log.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/lmittmann/tint"
	"golang.org/x/sync/errgroup"
)

// Service works until its context ends. Run returns nil for a normal end.
type Service interface {
	Run(ctx context.Context) error
}

// Func is a function as a Service.
type Func func(ctx context.Context) error

// Run calls f.
func (f Func) Run(ctx context.Context) error { return f(ctx) }

// All runs services until ctx ends or one of them fails, then stops all and waits for them. It returns the first failure. A
// service that ends before ctx does counts as failed.
func All(ctx context.Context, services ...Service) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range services {
		g.Go(func() error {
			err := s.Run(ctx)
			switch {
			case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
				return nil
			case err == nil:
				return fmt.Errorf("service %T ended unexpectedly", s)
			default:
				return err
			}
		})
	}
	return g.Wait()
}

// Main calls f with a context that ends on SIGINT or SIGTERM, and exits with 1 when f fails. A second signal ends the
// process at once.
func Main(f func(ctx context.Context, log *slog.Logger) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	log := Logger(os.Stderr)
	slog.SetDefault(log)
	if err := f(ctx, log); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("stopped", "err", err)
		os.Exit(1)
	}
}

// Logger writes JSON lines, or coloured text when w is a terminal. SLIPWAY_LOG sets the level: debug, info, warn, error.
func Logger(w *os.File) *slog.Logger {
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(os.Getenv("SLIPWAY_LOG"))); err != nil {
		level = slog.LevelInfo
	}
	if info, err := w.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
