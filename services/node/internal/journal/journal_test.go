package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"slipway.dev/pkg/fence"
	"slipway.dev/services/node/internal/journal"
)

func open(t *testing.T, root string, now time.Time) *journal.Journal {
	t.Helper()
	j, err := journal.Open(root, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func at(fence int64) journal.Order { return journal.Order{Fence: fence} }

func TestAccept(t *testing.T) {
	t.Parallel()
	root, now, id := t.TempDir(), time.Now(), uuid.New()
	j := open(t, root, now)
	for _, tt := range []struct {
		name   string
		accept func() error
		want   error
	}{
		{"first", func() error { return j.Accept(id, at(5)) }, nil},
		{"retry", func() error { return j.Accept(id, at(5)) }, nil},
		{"late", func() error { return j.Accept(id, at(4)) }, journal.ErrStale},
		{"late after restart", func() error { j = open(t, root, now); return j.Accept(id, at(4)) }, journal.ErrStale},
		{"newer", func() error { return j.Accept(id, at(7)) }, nil},
		{"late removal", func() error { return j.AcceptRemoval(id, at(6)) }, journal.ErrStale},
		{"removal", func() error { return j.AcceptRemoval(id, at(8)) }, nil},
		{"removal again", func() error { return j.AcceptRemoval(id, at(8)) }, nil},
		{"resurrection", func() error { return j.Accept(id, at(8)) }, journal.ErrStale},
		{"resurrection after restart", func() error { j = open(t, root, now); return j.Accept(id, at(7)) }, journal.ErrStale},
		{"other machine", func() error { return j.Accept(uuid.New(), at(1)) }, nil},
		{"a new life", func() error { return j.Accept(id, at(9)) }, nil},
	} {
		if err := tt.accept(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestTimelines: commands of a database that a failover left behind are refused for every machine, once the node has heard of
// the one that took over, by a command or otherwise, and for ever.
func TestTimelines(t *testing.T) {
	t.Parallel()
	root, now, id := t.TempDir(), time.Now(), uuid.New()
	j := open(t, root, now)
	old, next := at(fence.First(1)+900), at(fence.First(2)+1)
	learn := func(timeline, want int64) func() error {
		return func() error {
			if seen, err := j.Learn(timeline); err != nil || seen != want {
				return fmt.Errorf("learned %d: %d, %w", timeline, seen, err)
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name   string
		accept func() error
		want   error
	}{
		{"of an earlier version", func() error { return j.Accept(id, at(364)) }, nil},
		{"first", func() error { return j.Accept(id, old) }, nil},
		{"of an earlier version again", func() error { return j.Accept(uuid.New(), at(364)) }, journal.ErrStale},
		{"the next, of another machine", func() error { return j.AcceptRemoval(uuid.New(), next) }, nil},
		{"left behind", func() error { return j.Accept(id, old) }, journal.ErrStale},
		{"left behind, of a machine never heard of", func() error { return j.AcceptRemoval(uuid.New(), old) }, journal.ErrStale},
		{"a lower one", learn(1, 2), nil},
		{"a higher one", learn(5, 5), nil},
		{"left behind a second time", func() error { return j.Accept(id, next) }, journal.ErrStale},
		{"after a restart", func() error { j = open(t, root, now); return j.Accept(id, next) }, journal.ErrStale},
		{"when all tombstones are forgotten", func() error {
			j = open(t, root, now.Add(journal.Keep+time.Hour))
			j = open(t, root, now.Add(journal.Keep+time.Hour))
			return learn(0, 5)()
		}, nil},
		{"of the one that took over", func() error { return j.Accept(id, at(fence.First(5)+1)) }, nil},
	} {
		if err := tt.accept(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestTombstonesAge(t *testing.T) {
	t.Parallel()
	root, now := t.TempDir(), time.Now()
	dead, alive := uuid.New(), uuid.New()
	j := open(t, root, now)
	if err := errors.Join(j.AcceptRemoval(dead, at(3)), j.Accept(alive, at(3))); err != nil {
		t.Fatal(err)
	}
	if j = open(t, root, now.Add(journal.Keep)); !j.Removed(dead) {
		t.Error("tombstone forgotten too soon")
	}
	j = open(t, root, now.Add(journal.Keep+time.Hour))
	if j.Removed(dead) || j.Fence(dead) != 0 || j.Fence(alive) != 3 {
		t.Errorf("after %v: dead %d, alive %d", journal.Keep, j.Fence(dead), j.Fence(alive))
	}
}

func TestHalfWritten(t *testing.T) {
	t.Parallel()
	root, id := t.TempDir(), uuid.New()
	path := filepath.Join(root, "fences.log")
	if err := open(t, root, time.Now()).Accept(id, at(3)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `{"machine":"`...), 0o600); err != nil { // died while it wrote
		t.Fatal(err)
	}
	j := open(t, root, time.Now())
	if got := j.Fence(id); got != 3 {
		t.Errorf("fence %d, want 3", got)
	}
	if err := j.Accept(id, at(4)); err != nil {
		t.Fatal(err)
	}
	if got := open(t, root, time.Now()).Fence(id); got != 4 {
		t.Errorf("after half a line: fence %d, want 4", got)
	}
	if err := os.WriteFile(path, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(root, time.Now); err == nil {
		t.Error("nonsense was taken for no fences: late commands would pass")
	}
}

// TestOrder: in whatever order commands arrive, those that run have rising fences.
func TestOrder(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		j, id, last := open(t, root, time.Now()), uuid.New(), int64(0)
		for _, f := range rapid.SliceOfN(rapid.Int64Range(1, 20), 1, 12).Draw(rt, "fences") {
			err := j.Do(context.Background(), id, at(f), func(context.Context) error {
				if f < last {
					rt.Fatalf("%d ran after %d", f, last)
				}
				last = f
				return nil
			})
			if (f < last) != errors.Is(err, journal.ErrStale) {
				rt.Fatalf("fence %d after %d: %v", f, last, err)
			}
		}
	})
}

func TestOneCommandAtATime(t *testing.T) {
	t.Parallel()
	j, id := open(t, t.TempDir(), time.Now()), uuid.New()
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			err := j.Do(context.Background(), id, at(1), func(context.Context) error {
				if inside.Add(1) != 1 {
					t.Error("two commands at once")
				}
				inside.Add(-1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestWaitEndsWithContext(t *testing.T) {
	t.Parallel()
	j, id := open(t, t.TempDir(), time.Now()), uuid.New()
	ctx, cancel := context.WithCancel(context.Background())
	err := j.Do(ctx, id, at(1), func(ctx context.Context) error {
		cancel()
		if err := j.Do(ctx, id, at(1), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("waited: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestQuiet: commands that run are waited for, until the context ends, and a later one is not.
func TestQuiet(t *testing.T) {
	t.Parallel()
	j, id := open(t, t.TempDir(), time.Now()), uuid.New()
	if err := j.Quiet(t.Context()); err != nil {
		t.Error(err)
	}
	var ended atomic.Bool
	quiet := make(chan error)
	err := j.Do(t.Context(), id, at(1), func(ctx context.Context) error {
		late, cancel := context.WithCancel(ctx)
		cancel()
		if err := j.Quiet(late); !errors.Is(err, context.Canceled) {
			t.Errorf("a command runs, and it is quiet: %v", err)
		}
		go func() {
			err := j.Quiet(context.WithoutCancel(ctx))
			if !ended.Load() {
				err = errors.New("it was quiet before the end of the command")
			}
			quiet <- err
		}()
		return j.Do(ctx, uuid.New(), at(1), func(context.Context) error {
			ended.Store(true)
			return nil
		})
	})
	if err = errors.Join(err, <-quiet); err != nil {
		t.Error(err)
	}
}

// TestDamagedLine: a damaged record keeps no agent from its start; the others count, and the journal says what is missing.
func TestDamagedLine(t *testing.T) {
	t.Parallel()
	root, a, b := t.TempDir(), uuid.New(), uuid.New()
	text := fmt.Sprintf("{\"machine\":%q,\"fence\":7}\n\x00\x00machine\n{\"machine\":%q,\"fence\":9}\n", a, b)
	if err := os.WriteFile(filepath.Join(root, "fences.log"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	j := open(t, root, time.Now())
	if j.Fence(a) != 7 || j.Fence(b) != 9 || len(j.Damaged()) != 1 || !strings.Contains(j.Damaged()[0].Error(), "fences.log, line 2") {
		t.Errorf("fences %d and %d, damaged: %v", j.Fence(a), j.Fence(b), j.Damaged())
	}
	for range 2 { // whosever record it was, also after another start
		lost := uuid.New()
		if err := j.Accept(lost, at(8)); !errors.Is(err, journal.ErrStale) {
			t.Errorf("a command that may have been overtaken: %v", err)
		}
		if err := j.AcceptRemoval(lost, at(8)); !errors.Is(err, journal.ErrStale) {
			t.Errorf("a removal that may have been overtaken: %v", err)
		}
		if err := j.Accept(lost, at(10)); err != nil {
			t.Errorf("a later command: %v", err)
		}
		j = open(t, root, time.Now())
	}
}
