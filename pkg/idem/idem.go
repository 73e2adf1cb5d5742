// Package idem carries out a request with an idempotency key once: the answer commits with the effect, and a repeat of the
// request gets the stored answer, even if the client never received the first one.
package idem

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the table of answers.
var Migrations = pg.Line{Name: "idem", FS: files}

// Faults of requests with a key.
var (
	ErrReused = fault.New(codes.InvalidArgument, "IDEMPOTENCY_KEY_REUSED",
		"this Idempotency-Key was used for another request").On("Idempotency-Key")
	ErrUnderWay = fault.New(codes.Aborted, "IDEMPOTENCY_UNDER_WAY",
		"a request with this Idempotency-Key is being carried out, repeat it later")
	ErrSecret = fault.New(codes.InvalidArgument, "IDEMPOTENCY_NOT_HERE",
		"the answer of this call holds a secret and is not stored: send the request without Idempotency-Key").On("Idempotency-Key")
)

const (
	// keep is how long an answer is stored.
	keep = `interval '24 hours'`
	// lease is how long a request may take before its owner counts as dead. An owner that is only slow does no harm, because
	// its commit fails.
	lease = `interval '1 minute'`
	// patience is how long a repeat waits for the first request.
	patience = 10 * time.Second
	// look is the time between two queries for the answer of the first request.
	look = 50 * time.Millisecond
)

// Call is a request with a key.
type Call struct {
	Account int32
	Key     string
	Method  string
	Request proto.Message
}

// Keeper stores the answers of one service, in its schema.
type Keeper struct{ pool *pgxpool.Pool }

// New makes a keeper on a pool whose schema is migrated.
func New(pool *pgxpool.Pool) *Keeper { return &Keeper{pool} }

// Do carries out the call by do, or returns the stored answer if the call was carried out before. do must call Keep in the
// transaction of its effect. Errors of do are not stored, so that a repeat is carried out.
func (k *Keeper) Do(ctx context.Context, c Call, do func(context.Context) (proto.Message, error)) (proto.Message, error) {
	e, err := newEntry(c)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience); ; {
		mine, err := k.claim(ctx, e)
		if err != nil {
			return nil, err
		}
		if mine {
			return k.carryOut(ctx, e, do)
		}
		kept, err := k.read(ctx, e)
		switch {
		case err != nil:
			return nil, err
		case kept == nil: // the first was refused meanwhile
			continue
		case !bytes.Equal(kept.Request, e.request):
			return nil, ErrReused
		case kept.Answer != nil:
			return kept.message()
		case time.Now().After(deadline):
			return nil, ErrUnderWay
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(look):
		}
	}
}

// claim makes this call the owner of the entry, if there is no entry, or one that is too old, or one with a dead owner.
func (k *Keeper) claim(ctx context.Context, e *entry) (mine bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	// A client that disconnects now must not leave a claim without an owner.
	ctx, stop := apart(ctx)
	defer stop()
	tag, err := pg.Exec(ctx, k.pool, `
		INSERT INTO idem AS i (account_id, key, request, owner, until) VALUES ($1, $2, $3, $4, now() + `+lease+`)
		ON CONFLICT (account_id, key) DO UPDATE SET
			request = excluded.request, owner = excluded.owner, until = excluded.until, answer = NULL, answer_type = '', made_at = now()
		WHERE i.made_at < now() - `+keep+` OR i.answer IS NULL AND i.until < now()`,
		e.account, e.key, e.request, e.owner)
	if err != nil {
		k.drop(ctx, e)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, pg.ErrUnknownCommit) {
			err = fault.Unavailable.Wrap(err) // the call has not begun: a claim without an answer is nothing
		}
		return false, fmt.Errorf("claim idempotency key: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

func (k *Keeper) carryOut(ctx context.Context, e *entry, do func(context.Context) (proto.Message, error)) (proto.Message, error) {
	answer, err := do(context.WithValue(ctx, entryKey{}, e))
	if err == nil && !e.kept {
		return nil, errors.New("idem: the call kept no answer")
	}
	if err == nil {
		return answer, nil
	}
	if k.drop(ctx, e) {
		return nil, err
	}
	// The connection broke during the commit, but the answer is there, so the commit has happened.
	ctx, stop := apart(ctx)
	defer stop()
	if kept, readErr := k.read(ctx, e); readErr == nil && kept != nil && kept.Owner == e.owner && kept.Answer != nil {
		return kept.message()
	}
	return nil, err
}

// drop removes a claim without an answer. It returns false if there is an answer. If drop fails, the claim ends with its lease.
func (k *Keeper) drop(ctx context.Context, e *entry) (nothing bool) {
	ctx, stop := apart(ctx)
	defer stop()
	tag, err := pg.Exec(ctx, k.pool, `
		DELETE FROM idem WHERE account_id = $1 AND key = $2 AND owner = $3 AND answer IS NULL`, e.account, e.key, e.owner)
	return err != nil || tag.RowsAffected() > 0
}

// apart returns a context with a timeout of its own, which the end of ctx does not cancel.
func apart(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}

func (k *Keeper) read(ctx context.Context, e *entry) (*keptRow, error) {
	rows, err := k.pool.Query(ctx, `
		SELECT request, owner, answer_type, answer FROM idem WHERE account_id = $1 AND key = $2`, e.account, e.key)
	if err != nil {
		return nil, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[keptRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return r, err
}

// Run removes answers that are too old until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		// After an error the next round removes more. Batches are small, so that no request waits for the locks.
		for n := int64(1); n > 0; {
			tag, err := pg.Exec(ctx, k.pool, `
				DELETE FROM idem WHERE (account_id, key) IN (
					SELECT account_id, key FROM idem WHERE made_at < now() - `+keep+` LIMIT 1000 FOR UPDATE SKIP LOCKED)`)
			if n = tag.RowsAffected(); err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
