// Package journal remembers, for each machine, the highest fence number that a command carried, so that the late
// command of a dead worker is refused, and that of a removed machine does not bring it back.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Keep is how long a removed machine is remembered.
const Keep = 30 * 24 * time.Hour

// ErrStale refuses a command that a newer one overtook.
var ErrStale = fault.New(codes.FailedPrecondition, "STALE_COMMAND", "a newer command was seen for this machine")

type entry struct {
	Fence   int64     `json:"fence"`
	Removed time.Time `json:"removed,omitzero"`
}

// Journal is safe for many goroutines; one process may use a directory at a time.
type Journal struct {
	dir string
	now func() time.Time

	mu      sync.Mutex
	entries map[uuid.UUID]entry
	busy    map[uuid.UUID]chan struct{} // held while a command of the machine runs
}

// Open reads the journal under root, in files apart from the machines' own so that they outlive a removal. Tombstones
// older than Keep are dropped.
func Open(root string, now func() time.Time) (*Journal, error) {
	j := &Journal{
		dir: filepath.Join(root, "fences"), now: now,
		entries: map[uuid.UUID]entry{}, busy: map[uuid.UUID]chan struct{}{},
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make fence directory: %w", err)
	}
	files, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, fmt.Errorf("list fences: %w", err)
	}
	for _, f := range files {
		id, err := uuid.Parse(f.Name())
		if err != nil || id.String() != f.Name() {
			continue // half-written, replaced by the next write
		}
		e, err := read(filepath.Join(j.dir, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("read fence of %s: %w", id, err)
		}
		if !e.Removed.IsZero() && now().Sub(e.Removed) > Keep {
			if err := os.Remove(filepath.Join(j.dir, f.Name())); err != nil {
				return nil, fmt.Errorf("drop old fence: %w", err)
			}
			continue
		}
		j.entries[id] = e
	}
	return j, nil
}

// Accept takes note of a command that shapes or runs the machine. ErrStale when a higher fence was seen, or when the
// machine was removed by a command with this fence or a higher one. An equal fence is a retry and fine.
func (j *Journal) Accept(machine uuid.UUID, fence int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, known := j.entries[machine]
	switch {
	case known && fence < e.Fence, known && !e.Removed.IsZero() && fence == e.Fence:
		return ErrStale.With("command %d came after %d", fence, e.Fence)
	case known && fence == e.Fence:
		return nil
	}
	return j.write(machine, entry{Fence: fence})
}

// AcceptRemoval is Accept for the command that removes the machine; what it leaves is a tombstone.
func (j *Journal) AcceptRemoval(machine uuid.UUID, fence int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, known := j.entries[machine]
	switch {
	case known && fence < e.Fence:
		return ErrStale.With("command %d came after %d", fence, e.Fence)
	case known && fence == e.Fence && !e.Removed.IsZero():
		return nil
	}
	return j.write(machine, entry{Fence: fence, Removed: j.now().UTC()})
}

// Do accepts the command and runs it, one command of a machine at a time: without that, an accepted command that is slow
// could still overwrite what a newer one did.
func (j *Journal) Do(ctx context.Context, machine uuid.UUID, fence int64, run func(context.Context) error) error {
	return j.guard(ctx, machine, func() error { return j.Accept(machine, fence) }, run)
}

// DoRemoval is Do for the command that removes the machine.
func (j *Journal) DoRemoval(ctx context.Context, machine uuid.UUID, fence int64, run func(context.Context) error) error {
	return j.guard(ctx, machine, func() error { return j.AcceptRemoval(machine, fence) }, run)
}

func (j *Journal) guard(ctx context.Context, machine uuid.UUID, accept func() error, run func(context.Context) error) error {
	for {
		j.mu.Lock()
		wait, taken := j.busy[machine]
		if !taken {
			j.busy[machine] = make(chan struct{})
			j.mu.Unlock()
			break
		}
		j.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() {
		j.mu.Lock()
		close(j.busy[machine])
		delete(j.busy, machine)
		j.mu.Unlock()
	}()
	if err := accept(); err != nil {
		return err
	}
	return run(ctx)
}

// Fence is the highest fence seen, zero for a machine never heard of.
func (j *Journal) Fence(machine uuid.UUID) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[machine].Fence
}

// Removed reports whether a tombstone stands: the proof that a leftover of the machine may be swept.
func (j *Journal) Removed(machine uuid.UUID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.entries[machine].Removed.IsZero()
}

func read(path string) (entry, error) {
	var e entry
	b, err := os.ReadFile(path)
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(b, &e)
}

// write makes the entry durable before it counts.
func (j *Journal) write(machine uuid.UUID, e entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	path := filepath.Join(j.dir, machine.String())
	if err := replace(path, b); err != nil {
		return fmt.Errorf("record fence: %w", err)
	}
	j.entries[machine] = e
	return nil
}

func replace(path string, b []byte) (err error) {
	tmp := path + ".partial"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = errors.Join(d.Sync(), d.Close())
	if errors.Is(err, fs.ErrInvalid) {
		return nil // a file system that cannot sync directories
	}
	return err
}
