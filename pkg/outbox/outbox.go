// Package outbox sends events that commit together with the change that they describe. Emit writes a row in the caller's
// transaction; a relay publishes the event later, and again if the bus has lost it.
package outbox

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"slipway.dev/pkg/pg"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the tables of the relay (outbox) and of the consumers in package bus (inbox, inbox_parked).
var Migrations = pg.Line{Name: "outbox", FS: files}

// maxSize keeps an event well below the largest message of NATS (1 MiB): an event that is too large would block the relay.
// Events describe a change and do not carry whole rows.
const maxSize = 512 << 10

var subjectForm = regexp.MustCompile(`^[a-z][a-z0-9_-]*(\.[A-Za-z0-9_-]+)+$`)

// insert gives an event its revision: the time in microseconds, or more if the clock went back. Whoever emits holds the lock of the
// object that the key names, so that revisions of one key rise in the order of its changes. In a database that was restored from a
// backup they go on above those that were lost.
const insert = `
	INSERT INTO outbox (event_id, subject, key, type, data, revision)
	SELECT $1, $2, $3, $4, $5, greatest(
		(extract(epoch FROM clock_timestamp()) * 1000000)::bigint, (SELECT max(revision) + 1 FROM outbox WHERE key = $3))`

// Emit adds an event to the caller's transaction. Subject is <service>.<version>.<noun>.<verb in the past>. Events of one
// key keep their order as long as their transactions lock the object that the key names. Poke the relay after the commit.
func Emit(ctx context.Context, tx pgx.Tx, subject, key string, msg proto.Message) error {
	args, err := columns(subject, key, msg)
	if err == nil {
		_, err = tx.Exec(ctx, insert, args...)
	}
	if err != nil {
		return fmt.Errorf("emit %s: %w", subject, err)
	}
	return nil
}

// Queue is Emit for a transaction that sends b later, with other statements in the same round trip.
func Queue(b *pgx.Batch, subject, key string, msg proto.Message) error {
	args, err := columns(subject, key, msg)
	if err != nil {
		return fmt.Errorf("emit %s: %w", subject, err)
	}
	b.Queue(insert, args...)
	return nil
}

func columns(subject, key string, msg proto.Message) ([]any, error) {
	if !subjectForm.MatchString(subject) {
		return nil, errors.New("bad subject")
	}
	data, err := proto.Marshal(msg)
	if err != nil {
		return nil, err
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("event of %d bytes is too large", len(data))
	}
	return []any{newID(), subject, key, string(msg.ProtoReflect().Descriptor().FullName()), data}, nil
}
