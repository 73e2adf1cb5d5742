// Package store is all SQL of the auth service.
package store

import (
	"context"
	"embed"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the tables of the service.
var Migrations = pg.Line{Name: "auth", FS: files}

// Store reads, and begins units of work.
type Store struct {
	pool  *pgxpool.Pool
	lists query.Reader
	poke  func()
	chain func()
}

// New makes a store. poke is called when a unit of work has left events in the outbox, chain when it has left a record.
func New(pool *pgxpool.Pool, limits query.Limits, poke, chain func()) *Store {
	return &Store{pool, query.NewReader(pool, limits), poke, chain}
}

// Tx is one unit of work.
type Tx struct {
	tx       pgx.Tx
	told     *bool
	recorded *bool
}

// InTx runs fn as one unit of work, perhaps more than once. The record of the call under way, if there is one, is part of it.
func (s *Store) InTx(ctx context.Context, fn func(Tx) error) error {
	told, recorded := false, false
	unit := func(tx pgx.Tx) Tx { return Tx{tx, &told, &recorded} }
	err := audit.InTx(ctx, s.pool,
		func(tx pgx.Tx, r *auditpb.Record) error { return unit(tx).record(ctx, r) },
		func(tx pgx.Tx, _ *audit.Unit) error { return fn(unit(tx)) })
	if err != nil {
		return err
	}
	if recorded {
		s.chain()
	}
	if told {
		s.poke()
	}
	return nil
}

// emit tells what happened to an account.
func (t Tx) emit(ctx context.Context, subject string, account int32, m proto.Message) error {
	*t.told = true
	return outbox.Emit(ctx, t.tx, subject, strconv.Itoa(int(account)), m)
}

// Lock makes units of work that lock the same name wait for each other.
func (t Tx) Lock(ctx context.Context, name string) error {
	_, err := t.tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' ' || $1, 0))`, name)
	return err
}

// Answer keeps the answer to a request with an Idempotency-Key in this unit of work.
func (t Tx) Answer(ctx context.Context, m proto.Message) error { return idem.Keep(ctx, t.tx, m) }

// lastChange is last_notify of the lists.
const lastChange = `(SELECT (last_value & 2147483647)::integer FROM notify)`
