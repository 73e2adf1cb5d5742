package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/clamp"
)

// lookAtAll looks at every stream that events were ever sent to.
func (t *term) lookAtAll(ctx context.Context) error {
	var names []string
	err := t.leader.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, `SELECT name FROM outbox_stream`)
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return fmt.Errorf("read streams: %w", err)
	}
	t.ends = map[string]uint64{}
	for _, name := range names {
		if _, err := t.look(ctx, name); err != nil {
			return err
		}
	}
	t.looked = time.Now()
	return nil
}

// look compares the outbox with a stream, marks the events that the stream does not have, or has at another place, as unsent, and
// returns the number of the stream's last message.
func (t *term) look(ctx context.Context, service string) (uint64, error) {
	s, err := t.bus.Look(ctx, service)
	if err != nil {
		return 0, err
	}
	other, err := t.fork(ctx, service, s)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", service, err)
	}
	err = t.leader.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		lost, err := unmark(ctx, tx, service, s, other)
		if err != nil {
			return err
		}
		if lost > 0 {
			t.log.Warn("the bus lost events, they are sent again", "stream", service, "events", lost)
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO outbox_stream (name, created_at) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET created_at = excluded.created_at, trimmed = 0
			WHERE outbox_stream.created_at <> excluded.created_at`, service, s.Created)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", service, err)
	}
	if t.ends == nil {
		t.ends = map[string]uint64{}
	}
	t.ends[service] = s.Last
	return s.Last, t.trim(ctx, service, s)
}

// unmark marks the events of a stream that are not in it as unsent, and returns their number. Those are all events when the stream
// was made anew, else those at other or behind, behind the end, before the start although they are not as old as the stream may keep
// them and the relay has not removed them, and at places that are empty. An event of an earlier version, whose place is not known, counts as lost with any other.
func unmark(ctx context.Context, tx pgx.Tx, service string, s bus.State, other uint64) (int64, error) {
	gone := make([]int64, len(s.Gone))
	for i, seq := range s.Gone {
		gone[i] = clamp.Int64(seq)
	}
	tag, err := tx.Exec(ctx, `
		UPDATE outbox SET sent_at = NULL, seq = NULL
		WHERE sent_at IS NOT NULL AND split_part(subject, '.', 1) = $1 AND (
			EXISTS (SELECT FROM outbox_stream WHERE name = $1 AND created_at <> $2)
			OR seq > $3 OR seq >= $4 OR seq = ANY($5) 
			OR seq < $6 AND sent_at > now() - $7::interval
			   AND seq > (SELECT coalesce(max(trimmed), 0) FROM outbox_stream WHERE name = $1))`,
		service, s.Created, clamp.Int64(s.Last), clamp.Int64(other), gone, clamp.Int64(s.First), bus.StreamAge-time.Hour)
	if err != nil || tag.RowsAffected() == 0 {
		return 0, err
	}
	n := tag.RowsAffected()
	tag, err = tx.Exec(ctx, `
		UPDATE outbox SET sent_at = NULL
		WHERE sent_at IS NOT NULL AND seq IS NULL AND split_part(subject, '.', 1) = $1`, service)
	return n + tag.RowsAffected(), err
}

// fork returns the first place at which the outbox knows an event and the stream holds another one. What is before it is the same
// on both sides, because streams only grow at their ends: one that came back older and went on differs from a place on.
func (t *term) fork(ctx context.Context, service string, s bus.State) (uint64, error) {
	same, other := s.First, s.Last+1 // a place below same is the same on both sides, one from other on is not
	for probe := s.Last; same < other; probe = same + (other-same)/2 {
		seq, id, err := t.near(ctx, service, same, probe, other)
		if errors.Is(err, pgx.ErrNoRows) {
			return other, nil
		}
		if err != nil {
			return 0, err
		}
		have, err := t.bus.IDAt(ctx, service, seq)
		if err != nil {
			return 0, err
		}
		if have == id {
			same = seq + 1
		} else {
			other = seq
		}
	}
	return other, nil
}

// near returns the place and the id of the last event that is known from one place up to probe, or of the first after that and
// before to.
func (t *term) near(ctx context.Context, service string, from, probe, to uint64) (seq uint64, id string, err error) {
	err = t.leader.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `
			SELECT seq, id FROM (
				(SELECT seq, event_id::text AS id FROM outbox
				WHERE seq >= $2 AND seq <= $3 AND split_part(subject, '.', 1) = $1 ORDER BY seq DESC LIMIT 1)
				UNION ALL
				(SELECT seq, event_id::text AS id FROM outbox
				WHERE seq > $3 AND seq < $4 AND split_part(subject, '.', 1) = $1 ORDER BY seq LIMIT 1)) AS known
			ORDER BY seq LIMIT 1`,
			service, clamp.Int64(from), clamp.Int64(probe), clamp.Int64(to)).Scan(&seq, &id)
	})
	return seq, id, err
}
