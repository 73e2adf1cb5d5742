package fsck

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
)

// The times after which events and jobs count as left behind. A relay sends within a second, and tries again every five; a
// lease that ends is taken over within a second by a runner with a free worker.
const (
	unsentAfter  = 30 * time.Second
	leaseAfter   = 30 * time.Second
	untakenAfter = 10 * time.Minute // a job that is due may wait for its turn
	agedAfter    = 24 * time.Hour
	most         = 1000 // findings of one check
)

// rows returns a check that reads object and detail of its findings by one query.
func rows(db pg.DB, kind, sql string, args ...any) Check {
	return func(ctx context.Context) ([]Finding, error) {
		rows, err := db.Query(ctx, sql, append(args, most)...)
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", kind, err)
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f Finding, err error) {
			f.Kind = kind
			return f, row.Scan(&f.Object, &f.Detail)
		})
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", kind, err)
		}
		return list, nil
	}
}

// Jobs returns a check for due jobs without a worker, and for jobs that take longer than a day.
func Jobs(db pg.DB) Check {
	return rows(db, JobOverdue, `
		SELECT 'job ' || id, kind || ' of ' || key || ' is ' || state ||
			CASE WHEN lease_until IS NOT NULL THEN ', its lease ended ' || lease_until ELSE ', due since ' || run_at END ||
			CASE WHEN error <> '' THEN ': ' || error ELSE '' END
		FROM job j
		WHERE state IN ('queued', 'running', 'undoing') AND (
			lease_until < now() - $1::interval
			OR lease_until IS NULL AND run_at < now() - $2::interval
			   AND NOT EXISTS (SELECT FROM job e WHERE e.key = j.key AND e.id < j.id AND e.state IN ('queued', 'running', 'undoing'))
			OR started_at < now() - $3::interval)
		ORDER BY id LIMIT $4`, leaseAfter, untakenAfter, agedAfter)
}

// Outbox returns a check for events that were not sent in time.
func Outbox(db pg.DB, service string) Check {
	return rows(db, EventUnsent, `
		SELECT 'outbox of `+service+`', count(*) || ' events wait, the oldest since ' || min(occurred_at)
		FROM outbox WHERE sent_at IS NULL AND occurred_at < now() - $1::interval
		HAVING count(*) > 0 LIMIT $2`, unsentAfter)
}

// Parked returns a check for events that could not be applied.
func Parked(db pg.DB) Check {
	return rows(db, EventParked, `
		SELECT 'event ' || event_id || ' for ' || consumer, subject || ' since ' || parked_at || ': ' || error
		FROM inbox_parked ORDER BY parked_at LIMIT $1`)
}
