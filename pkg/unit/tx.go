package unit

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/protobuf/proto"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/outbox"
)

// Tx is one run of a unit of work.
type Tx struct {
	tx    pgx.Tx
	audit func(context.Context, *Tx, *auditpb.Record) error
	// later holds the statements whose results are not needed; they are sent in one round trip before the commit. It is nil
	// in a transaction that was opened elsewhere, whose end this package does not see.
	later *pgx.Batch

	asked        bool // the record was asked for: it is written once
	recorded     bool
	events, jobs bool // left for the relay, for the runner
	after        []func()
}

// In returns a unit of work in a transaction that was opened elsewhere, such as that of a job or an event. Its Later sends at
// once, it writes no audit record, and its AfterCommit does nothing.
func In(tx pgx.Tx) *Tx { return &Tx{tx: tx} }

// Plain returns the transaction of the unit of work, for packages that know of no units.
func (t *Tx) Plain() pgx.Tx { return t.tx }

// Exec runs a statement in the unit of work.
func (t *Tx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return t.tx.Exec(ctx, sql, args...)
}

// Query reads rows in the unit of work.
func (t *Tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return t.tx.Query(ctx, sql, args...)
}

// QueryRow reads one row in the unit of work.
func (t *Tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return t.tx.QueryRow(ctx, sql, args...)
}

// SendBatch sends several statements in one round trip, for callers that need the results.
func (t *Tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return t.tx.SendBatch(ctx, b)
}

// Later adds a statement whose result is not needed. All of them are sent in one round trip before the commit.
func (t *Tx) Later(ctx context.Context, sql string, args ...any) error {
	if t.later == nil {
		_, err := t.tx.Exec(ctx, sql, args...)
		return err
	}
	t.later.Queue(sql, args...)
	return nil
}

// Last writes the audit record, lets add queue further statements, and sends all queued statements in one round trip. InTx
// calls Last before the commit; a unit of work calls Last before that if its last statement takes locks that other units of
// work wait for, so that the commit follows that statement directly.
func (t *Tx) Last(ctx context.Context, add func(*pgx.Batch)) error {
	if err := t.record(ctx); err != nil {
		return err
	}
	b := t.later
	if b == nil {
		b = &pgx.Batch{}
	}
	if add != nil {
		add(b)
	}
	if b.Len() == 0 {
		return nil
	}
	if t.later != nil {
		t.later = &pgx.Batch{}
	}
	return t.tx.SendBatch(ctx, b).Close()
}

// record writes the record of the call under way, once.
func (t *Tx) record(ctx context.Context) error {
	if t.asked || t.audit == nil {
		return nil
	}
	t.asked = true
	return audit.Commit(ctx, func(r *auditpb.Record) error {
		t.recorded = true
		return t.audit(ctx, t, r)
	})
}

// Emit adds an event. Events of one key keep their order as long as their units of work lock the object that the key names.
func (t *Tx) Emit(ctx context.Context, subject, key string, msg proto.Message) error {
	t.events = true
	if t.later == nil {
		return outbox.Emit(ctx, t.tx, subject, key, msg)
	}
	return outbox.Queue(t.later, subject, key, msg)
}

// Enqueue adds a job.
func (t *Tx) Enqueue(ctx context.Context, n jobs.New) (jobs.Job, error) {
	t.jobs = true
	return jobs.Enqueue(ctx, t.tx, n)
}

// Cancel cancels the unfinished jobs of a key.
func (t *Tx) Cancel(ctx context.Context, key string) error {
	t.jobs = true
	_, err := jobs.Cancel(ctx, t.tx, key)
	return err
}

// StopJob asks one job to end, and returns false if the job is over or ends already.
func (t *Tx) StopJob(ctx context.Context, id int32) (bool, error) {
	t.jobs = true
	return jobs.Stop(ctx, t.tx, id)
}

// Reassign gives jobs of an account to another one: those of these keys, or all if keys is nil.
func (t *Tx) Reassign(ctx context.Context, from, to int32, keys []string) error {
	return jobs.Reassign(ctx, t.tx, from, to, keys)
}

// Remark keeps what a job says of its end.
func (t *Tx) Remark(ctx context.Context, job int32, text string) error {
	return jobs.Remark(ctx, t.tx, job, text)
}

// Together sends the statements that f leaves for later, events among them, in one round trip.
func (t *Tx) Together(ctx context.Context, f func() error) error {
	outer := t.later
	b := &pgx.Batch{}
	t.later = b
	err := f()
	t.later = outer
	if err != nil || b.Len() == 0 {
		return err
	}
	return t.tx.SendBatch(ctx, b).Close()
}

// Answer keeps the answer to a request with an Idempotency-Key.
func (t *Tx) Answer(ctx context.Context, m proto.Message) error { return idem.Keep(ctx, t.tx, m) }

// Lock takes a lock on name until the end of the unit of work.
func (t *Tx) Lock(ctx context.Context, name string) error {
	_, err := t.tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' ' || $1, 0))`, name)
	return err
}

// AfterCommit makes f run once the unit of work has committed. f must not block.
func (t *Tx) AfterCommit(f func()) { t.after = append(t.after, f) }
