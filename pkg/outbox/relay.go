package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/lead"
)

const (
	batch   = 256
	poll    = 200 * time.Millisecond // for rows of other processes, whose Poke this one does not hear
	looking = 10 * time.Second       // between two looks at the streams; other looks follow a gap or an error
	pruning = 10 * time.Minute
	// kept is how long a sent event can be sent again: as long as a stream would hold it, and a day for the way back.
	kept = bus.StreamAge + 24*time.Hour
)

var (
	pointPublished = crash.At("outbox.published")
	pointMarked    = crash.At("outbox.marked")
)

// Relay publishes the events in the outbox. One relay of a schema works at a time, the others stand by.
type Relay struct {
	pool    *pgxpool.Pool
	bus     *bus.Bus
	log     *slog.Logger
	poke    chan struct{}
	looking time.Duration

	mu    sync.Mutex
	heard map[string]*readers // by stream
}

// Option changes how a Relay works.
type Option func(*Relay)

// WithLooks sets the longest time between two looks at the streams; default 10 s.
func WithLooks(every time.Duration) Option { return func(r *Relay) { r.looking = every } }

// NewRelay makes a relay.
func NewRelay(pool *pgxpool.Pool, b *bus.Bus, log *slog.Logger, opts ...Option) *Relay {
	r := &Relay{pool: pool, bus: b, log: log, poke: make(chan struct{}, 1), looking: looking, heard: map[string]*readers{}}
	for _, opt := range opts {
		opt(r)
	}
	return r
}

// Poke makes the relay look for events now. Call Poke right after a commit; the call never blocks.
func (r *Relay) Poke() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// Duty returns the relay's work, for the leader of its schema.
func (r *Relay) Duty() lead.Duty {
	return lead.Duty{Name: "outbox", Run: func(ctx context.Context, l *lead.Leader) error {
		t := term{Relay: r, leader: l}
		return t.run(ctx)
	}}
}

// Run publishes until ctx ends, for a schema with no other duties.
func (r *Relay) Run(ctx context.Context) error { return lead.Run(ctx, r.pool, r.log, r.Duty()) }

// Republish marks the events since then as unsent, and returns their number: the relay sends them again, and consumers drop the
// events that they have already. Poke the relay after the commit.
func Republish(ctx context.Context, tx Execer, since time.Time) (int64, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE outbox SET sent_at = NULL, seq = NULL
		WHERE occurred_at >= $1 AND sent_at IS NOT NULL`, since)
	if err != nil {
		return 0, fmt.Errorf("republish: %w", err)
	}
	return tag.RowsAffected(), nil
}

// Execer runs a statement in a transaction.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// term is the work of a relay from one error to the next.
type term struct {
	*Relay
	leader *lead.Leader
	ends   map[string]uint64 // of the streams that were looked at: the number of the last message
	looked time.Time
	pruned time.Time
}

// run publishes events until an error or the end of ctx.
func (t *term) run(ctx context.Context) error {
	gaps, end := t.bus.Gaps()
	defer end()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if time.Since(t.looked) > t.looking {
			if err := t.lookAtAll(ctx); err != nil {
				return err
			}
		}
		more, err := t.send(ctx)
		if err != nil {
			return err
		}
		t.leader.Healthy()
		if more {
			continue
		}
		if err := t.prune(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-gaps:
			t.looked = time.Time{}
		case <-t.poke:
		case <-tick.C:
		}
	}
}

type row struct {
	ID    int64
	Event bus.Event
}

func (r row) stream() string {
	service, _, _ := strings.Cut(r.Event.Subject, ".")
	return service
}

// send publishes one batch, and reports whether there may be more to send. The batch is of events that are not marked as sent, and
// not of all events after the last one, because ids rise in another order than transactions commit.
func (t *term) send(ctx context.Context) (more bool, err error) {
	rows, err := t.unsent(ctx)
	if err != nil {
		return false, err
	}
	for sent := 0; sent < len(rows); {
		n, service := 0, rows[sent].stream()
		for sent+n < len(rows) && rows[sent+n].stream() == service {
			n++
		}
		whole, err := t.append(ctx, service, rows[sent:sent+n])
		if err != nil || !whole {
			return err == nil, err
		}
		sent += n
	}
	return len(rows) == batch, nil
}

// append publishes events of one stream, marks those that JetStream has on disk, and reports whether these are all. The stream has
// to end where the relay knows: one that came back older is looked at before it gets anything, by the next term.
func (t *term) append(ctx context.Context, service string, rows []row) (whole bool, err error) {
	end, ok := t.ends[service]
	if !ok {
		if end, err = t.look(ctx, service); err != nil {
			return false, err
		}
	}
	events := make([]bus.Event, len(rows))
	for i, row := range rows {
		events[i] = row.Event
	}
	seqs, err := t.bus.Append(ctx, end, events...)
	pointPublished.Hit()
	if len(seqs) == 0 {
		return false, err
	}
	if err := t.mark(ctx, rows, seqs); err != nil {
		return false, err
	}
	pointMarked.Hit()
	t.ends[service] = max(end, slices.Max(seqs)) // not always the last one's: JetStream may have had that one before
	if bus.OutOfOrder(err) {
		return false, nil // the rest follows
	}
	return err == nil, err
}

// mark stores which of the events, from the first, are sent, and their places.
func (t *term) mark(ctx context.Context, rows []row, seqs []uint64) error {
	ids, places := make([]int64, len(seqs)), make([]int64, len(seqs))
	for i, seq := range seqs {
		ids[i], places[i] = rows[i].ID, clamp.Int64(seq)
	}
	err := t.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE outbox SET sent_at = now(), seq = s.seq
			FROM unnest($1::bigint[], $2::bigint[]) AS s (id, seq) WHERE outbox.id = s.id`, ids, places)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark as sent: %w", err)
	}
	return nil
}

func (t *term) unsent(ctx context.Context) (list []row, err error) {
	err = t.leader.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, `
			SELECT id, event_id::text, subject, key, type, occurred_at, revision, data
			FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1`, batch)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(c pgx.CollectableRow) (row, error) {
			var r row
			e := &r.Event
			err := c.Scan(&r.ID, &e.ID, &e.Subject, &e.Key, &e.Type, &e.Time, &e.Revision, &e.Data)
			return r, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return list, nil
}

// prune deletes events that were sent long ago.
func (t *term) prune(ctx context.Context) error {
	if time.Since(t.pruned) < pruning {
		return nil
	}
	t.pruned = time.Now()
	err := t.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM outbox WHERE sent_at < now() - $1::interval`, kept)
		return err
	})
	if err != nil {
		return fmt.Errorf("prune outbox: %w", err)
	}
	return nil
}
