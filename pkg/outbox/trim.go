package outbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/clamp"
)

// readers is what the consumers of a stream report.
type readers struct {
	mu   sync.Mutex
	list map[string]bus.Reader
}

func (r *readers) keep(one bus.Reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list[one.Name] = one
}

func (r *readers) all() map[string]bus.Reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.list)
}

// hear returns what the consumers of a stream have reported to this process, from the first call on.
func (r *Relay) hear(service string) (*readers, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.heard[service]; known != nil {
		return known, nil
	}
	list := &readers{list: map[string]bus.Reader{}}
	if err := r.bus.Readers(service, list.keep); err != nil {
		return nil, fmt.Errorf("readers of %s: %w", service, err)
	}
	r.heard[service] = list
	return list, nil
}

// trim makes room in a stream that is nearly full: it removes the older half, but nothing that a consumer has not read. A consumer
// that this process has not heard keeps all of it, until it was not heard for as long as a stream keeps an event.
func (t *term) trim(ctx context.Context, service string, s bus.State) error {
	r, err := t.hear(service)
	if err != nil {
		return err
	}
	heard := r.all()
	known, err := t.known(ctx, service, slices.Sorted(maps.Keys(heard)))
	if err != nil {
		return err
	}
	if s.MaxBytes == 0 || s.Bytes < s.MaxBytes/4*3 || len(known) == 0 {
		return nil
	}
	before := s.First + (s.Last-s.First)/2
	for _, name := range known {
		one, ok := heard[name]
		if !ok || !one.Created.Equal(s.Created) {
			t.log.Warn("a stream is nearly full and a reader is away: nothing is removed", "stream", service, "reader", name)
			return nil
		}
		before = min(before, one.Seq+1)
	}
	if before <= s.First {
		return nil
	}
	err = t.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE outbox_stream SET trimmed = greatest(trimmed, $2) WHERE name = $1`, service, clamp.Int64(before-1))
		return err
	})
	if err != nil {
		return fmt.Errorf("trim %s: %w", service, err)
	}
	t.log.Info("a stream is nearly full: events that all have read are removed", "stream", service, "from", s.First, "before", before)
	return t.bus.Purge(ctx, service, before)
}

// known stores which consumers were heard, and returns all that were within the time that a stream keeps an event.
func (t *term) known(ctx context.Context, service string, heard []string) (names []string, err error) {
	err = t.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			WITH heard AS (
				INSERT INTO outbox_reader (stream, reader) SELECT $1, unnest($2::text[])
				ON CONFLICT (stream, reader) DO UPDATE SET seen_at = now() WHERE outbox_reader.seen_at < now() - interval '1 hour')
			SELECT reader FROM outbox_reader WHERE stream = $1 AND seen_at > now() - $3::interval
			UNION SELECT unnest($2::text[]) ORDER BY 1`, service, heard, bus.StreamAge+time.Hour)
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("readers of %s: %w", service, err)
	}
	return names, nil
}
