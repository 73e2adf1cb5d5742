// Package journal stores the highest fence number of the commands for each machine, so that the agent refuses a late command of a
// dead worker, and such a command cannot restore a removed machine.
package journal

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fence"
)

// Keep is how long a removed machine is remembered.
const Keep = 30 * 24 * time.Hour

var pointUnnoted = crash.At("node.journal.before")

// ErrStale is the fault of a command that a newer one has overtaken, or whose database was left behind by a failover.
var ErrStale = fence.ErrStale

// everyMachine is the key of the entry that counts for all machines. Such an entry is made when a record was damaged: it
// is not known whose, and fences rise over all machines, so the highest one that is known stands for the lost one.
var everyMachine = uuid.Nil

type entry struct {
	Machine uuid.UUID `json:"machine"`
	Fence   int64     `json:"fence"`
	Step    int32     `json:"step,omitempty"`
	Removed time.Time `json:"removed,omitzero"`
}

// Journal is safe for many goroutines; one process may use a directory at a time.
type Journal struct {
	path string
	now  func() time.Time

	mu       sync.Mutex
	timeline int64 // the highest of all commands, and of what Learn was given
	entries  map[uuid.UUID]entry
	busy     map[uuid.UUID]chan struct{} // held while a command of the machine runs
	log      *os.File
	size     int64 // of the log, up to its last whole line
	lines    int
	damaged  []error // lines that were left out
}

// Open reads the journal under root, in a file apart from the machines' own so that it outlives a removal. Tombstones
// older than Keep are dropped.
func Open(root string, now func() time.Time) (*Journal, error) {
	j := &Journal{
		path: filepath.Join(root, "fences.log"), now: now,
		entries: map[uuid.UUID]entry{}, busy: map[uuid.UUID]chan struct{}{},
	}
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, fmt.Errorf("make root: %w", err)
	}
	if err := j.load(); err != nil {
		return nil, fmt.Errorf("read fences: %w", err)
	}
	if err := j.compact(); err != nil {
		return nil, fmt.Errorf("write fences: %w", err)
	}
	return j, nil
}

// Damaged returns what was left out when the journal was read. From then on a command needs a fence that is as high as
// any that is known.
func (j *Journal) Damaged() []error { return j.damaged }

// Order is the place of a command among all of its machine: the fence number of the attempt, and the step within it.
type Order struct {
	Fence int64
	Step  int32
}

// overtaken reports whether a command of any machine comes too late after records were damaged.
func (j *Journal) overtaken(o Order) bool { return o.Fence < j.entries[everyMachine].Fence }

// before reports whether the command recorded in e has overtaken o.
func (o Order) before(e entry) bool {
	return o.Fence < e.Fence || o.Fence == e.Fence && o.Step < e.Step
}

// Accept records a command that changes or runs the machine. It returns ErrStale after a later command, or if a command in this
// or a later place removed the machine. Another command in the same place is a retry and is accepted.
func (j *Journal) Accept(machine uuid.UUID, o Order) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.current(o); err != nil {
		return err
	}
	e, known := j.entries[machine]
	same := o.Fence == e.Fence && o.Step == e.Step
	switch {
	case j.overtaken(o), known && o.before(e), known && !e.Removed.IsZero() && o.Fence == e.Fence:
		return ErrStale.With("command %d.%d came after %d.%d", o.Fence, o.Step, e.Fence, e.Step)
	case known && same:
		return nil
	}
	return j.write(entry{Machine: machine, Fence: o.Fence, Step: o.Step}, known && o.Fence == e.Fence)
}

// AcceptRemoval is Accept for the command that removes the machine; it leaves a tombstone.
func (j *Journal) AcceptRemoval(machine uuid.UUID, o Order) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.current(o); err != nil {
		return err
	}
	e, known := j.entries[machine]
	switch {
	case j.overtaken(o), known && o.before(e):
		return ErrStale.With("command %d.%d came after %d.%d", o.Fence, o.Step, e.Fence, e.Step)
	case known && o.Fence == e.Fence && o.Step == e.Step && !e.Removed.IsZero():
		return nil
	}
	return j.write(entry{Machine: machine, Fence: o.Fence, Step: o.Step, Removed: j.now().UTC()}, false)
}

// Do accepts the command and runs it, one command of a machine at a time: otherwise a slow accepted command could overwrite the
// effect of a newer one.
func (j *Journal) Do(ctx context.Context, machine uuid.UUID, o Order, run func(context.Context) error) error {
	return j.guard(ctx, machine, func() error { return j.Accept(machine, o) }, run)
}

// DoRemoval is Do for the command that removes the machine.
func (j *Journal) DoRemoval(ctx context.Context, machine uuid.UUID, o Order, run func(context.Context) error) error {
	return j.guard(ctx, machine, func() error { return j.AcceptRemoval(machine, o) }, run)
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
	pointUnnoted.Hit()
	if err := accept(); err != nil {
		return err
	}
	return run(ctx)
}

// Quiet waits until every command that runs now has ended. After Learn no command of a lower timeline runs any more, then.
func (j *Journal) Quiet(ctx context.Context) error {
	j.mu.Lock()
	running := slices.Collect(maps.Values(j.busy))
	j.mu.Unlock()
	for _, ended := range running {
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// current returns ErrStale for a command of a lower timeline than the node has heard of, and keeps a higher one.
func (j *Journal) current(o Order) error {
	timeline := fence.Timeline(o.Fence)
	if timeline < j.timeline {
		return ErrStale.With("the command is of timeline %d, and timeline %d was seen: a failover left its database behind",
			timeline, j.timeline)
	}
	return j.raise(timeline)
}

// Learn keeps the timeline of vm's database and returns the highest that was kept. Commands of lower ones are refused from
// then on, also after a restart.
func (j *Journal) Learn(timeline int64) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.raise(timeline)
	return j.timeline, err
}

// raise makes a higher timeline durable, as an entry that counts for all machines.
func (j *Journal) raise(timeline int64) error {
	if timeline <= j.timeline {
		return nil
	}
	if err := j.write(entry{Machine: everyMachine, Fence: fence.First(timeline)}, false); err != nil {
		return err
	}
	j.timeline = timeline
	return nil
}

// Fence returns the highest fence of the machine's commands, zero for an unknown machine.
func (j *Journal) Fence(machine uuid.UUID) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[machine].Fence
}

// Removed reports whether the machine has a tombstone, the proof that leftovers of the machine may be removed.
func (j *Journal) Removed(machine uuid.UUID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.entries[machine].Removed.IsZero()
}
