package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/lead"
)

const (
	batch   = 256
	poll    = 200 * time.Millisecond // for rows of other processes, whose Poke this one does not hear
	kept    = 7 * 24 * time.Hour
	pruning = 10 * time.Minute
)

var (
	pointPublished = crash.At("outbox.published")
	pointMarked    = crash.At("outbox.marked")
)

// Relay publishes the events in the outbox. One relay of a schema works at a time, the others stand by.
type Relay struct {
	pool *pgxpool.Pool
	bus  *bus.Bus
	log  *slog.Logger
	poke chan struct{}
}

// NewRelay makes a relay.
func NewRelay(pool *pgxpool.Pool, b *bus.Bus, log *slog.Logger) *Relay {
	return &Relay{pool: pool, bus: b, log: log, poke: make(chan struct{}, 1)}
}

// Poke makes the relay look for events now. Call Poke right after a commit; the call never blocks.
func (r *Relay) Poke() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// Duty returns the relay's work, for the leader of its schema.
func (r *Relay) Duty() lead.Duty { return lead.Duty{Name: "outbox", Run: r.lead} }

// Run publishes until ctx ends, for a schema with no other duties.
func (r *Relay) Run(ctx context.Context) error { return lead.Run(ctx, r.pool, r.log, r.Duty()) }

// republish marks the events since then as unsent, for a bus that lost them, and returns their number. Consumers drop the
// events that they have already.
func (r *Relay) republish(ctx context.Context, since time.Time) (int, error) {
	tag, err := r.pool.Exec(ctx, `
		UPDATE outbox SET sent_at = NULL
		WHERE occurred_at >= $1 AND sent_at IS NOT NULL`, since)
	if err != nil {
		return 0, fmt.Errorf("republish: %w", err)
	}
	r.Poke()
	return int(tag.RowsAffected()), nil
}

// lead publishes events until an error or the end of ctx.
func (r *Relay) lead(ctx context.Context, l *lead.Leader) error {
	gaps, end := r.bus.Gaps()
	defer end()
	streams, err := r.checkStreams(ctx, l)
	if err != nil {
		return err
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var pruned time.Time
	for {
		n, err := r.send(ctx, l, streams)
		if err != nil {
			return err
		}
		l.Healthy()
		if n == batch {
			continue
		}
		if time.Since(pruned) > pruning {
			if err := prune(ctx, l); err != nil {
				return err
			}
			pruned = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-gaps:
			if streams, err = r.checkStreams(ctx, l); err != nil {
				return err
			}
		case <-r.poke:
		case <-tick.C:
		}
	}
}

type row struct {
	ID    int64
	Event bus.Event
}

// send publishes one batch and returns its size. The batch is of events that are not marked as sent, and not of all events after
// the last one, because ids rise in another order than transactions commit.
func (r *Relay) send(ctx context.Context, l *lead.Leader, streams map[string]bool) (int, error) {
	rows, err := unsent(ctx, l)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	events := make([]bus.Event, len(rows))
	ids := make([]int64, len(rows))
	for i, row := range rows {
		events[i], ids[i] = row.Event, row.ID
		service, _, _ := strings.Cut(row.Event.Subject, ".")
		if err := r.checkStream(ctx, l, service, streams); err != nil {
			return 0, err
		}
	}
	n, publishErr := r.bus.Publish(ctx, events...)
	pointPublished.Hit()
	if n > 0 {
		err := l.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
			_, err := conn.Exec(ctx, `UPDATE outbox SET sent_at = now() WHERE id = ANY($1)`, ids[:n])
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("mark as sent: %w", err)
		}
		pointMarked.Hit()
	}
	return n, publishErr
}

func unsent(ctx context.Context, l *lead.Leader) (list []row, err error) {
	err = l.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, `
			SELECT id, event_id::text, subject, key, type, occurred_at, data
			FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1`, batch)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(c pgx.CollectableRow) (row, error) {
			var r row
			e := &r.Event
			err := c.Scan(&r.ID, &e.ID, &e.Subject, &e.Key, &e.Type, &e.Time, &e.Data)
			return r, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return list, nil
}

// checkStreams checks every stream that events were ever sent to, and returns the streams without an error.
func (r *Relay) checkStreams(ctx context.Context, l *lead.Leader) (map[string]bool, error) {
	var names []string
	err := l.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, `SELECT name FROM outbox_stream`)
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read streams: %w", err)
	}
	checked := map[string]bool{}
	for _, name := range names {
		if err := r.checkStream(ctx, l, name, checked); err != nil {
			return nil, err
		}
	}
	return checked, nil
}

// checkStream checks that the stream is still the one that the sent events went to. A new stream is empty, because NATS lost its
// disk or was installed again; then all stored events are sent again.
func (r *Relay) checkStream(ctx context.Context, l *lead.Leader, service string, checked map[string]bool) error {
	if checked[service] {
		return nil
	}
	created, err := r.bus.StreamCreated(ctx, service)
	if err != nil {
		return err
	}
	created = created.Truncate(time.Microsecond)
	err = l.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE outbox SET sent_at = NULL
			WHERE sent_at IS NOT NULL AND split_part(subject, '.', 1) = $1
			  AND EXISTS (SELECT FROM outbox_stream WHERE name = $1 AND created_at <> $2)`, service, created)
		if err != nil {
			return err
		}
		if n := tag.RowsAffected(); n > 0 {
			r.log.Warn("the bus lost a stream, its events are sent again", "stream", service, "events", n)
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO outbox_stream (name, created_at) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET created_at = excluded.created_at
			WHERE outbox_stream.created_at <> excluded.created_at`, service, created)
		return err
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", service, err)
	}
	checked[service] = true
	return nil
}

func prune(ctx context.Context, l *lead.Leader) error {
	err := l.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, `DELETE FROM outbox WHERE sent_at < now() - $1::interval`, kept)
		return err
	})
	if err != nil {
		return fmt.Errorf("prune outbox: %w", err)
	}
	return nil
}
