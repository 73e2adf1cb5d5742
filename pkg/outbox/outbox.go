// Package outbox sends events that commit together with what they tell. Emit writes a row in the caller's transaction; a
// relay publishes it later, and again when the bus has lost it.
package outbox

import (
	"context"
	"embed"
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

// maxSize keeps an event well below what NATS takes in one message (1 MiB): one that is too large would hold up the
// relay for ever. An event tells what happened, not whole rows.
const maxSize = 512 << 10

var subjectForm = regexp.MustCompile(`^[a-z][a-z0-9_-]*(\.[A-Za-z0-9_-]+)+$`)

// Emit adds an event to the caller's transaction. Subject is <service>.<version>.<noun>.<verb in the past>. Events of one
// key keep their order as long as their transactions lock the thing that the key names. Poke the relay after the commit.
func Emit(ctx context.Context, tx pgx.Tx, subject, key string, msg proto.Message) error {
	if !subjectForm.MatchString(subject) {
		return fmt.Errorf("emit: bad subject %q", subject)
	}
	data, err := proto.Marshal(msg)
	if err != nil {
		return fmt.Errorf("emit %s: %w", subject, err)
	}
	if len(data) > maxSize {
		return fmt.Errorf("emit %s: event of %d bytes is too large", subject, len(data))
	}
	_, err = tx.Exec(ctx, `INSERT INTO outbox (event_id, subject, key, type, data) VALUES ($1, $2, $3, $4, $5)`,
		newID(), subject, key, string(msg.ProtoReflect().Descriptor().FullName()), data)
	if err != nil {
		return fmt.Errorf("emit %s: %w", subject, err)
	}
	return nil
}
