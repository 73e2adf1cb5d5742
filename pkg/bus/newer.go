package bus

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Newer reports whether no newer event of the object of e has taken effect in this schema, and keeps the revision of e. It is for
// events that say what an object is from now on: an older one that comes late, because it was parked and is replayed or because
// events are sent again, must not undo a newer one. The object is the noun of the subject and the key. An event of an earlier version
// has no revision and always counts as newer.
func Newer(ctx context.Context, tx pgx.Tx, e Event) (bool, error) {
	if e.Revision == 0 {
		return true, nil
	}
	noun := e.Subject[:max(strings.LastIndexByte(e.Subject, '.'), 0)]
	tag, err := tx.Exec(ctx, `
		INSERT INTO inbox_revision AS r (object, revision) VALUES ($1, $2)
		ON CONFLICT (object) DO UPDATE SET revision = excluded.revision WHERE r.revision < excluded.revision`,
		noun+" "+e.Key, e.Revision)
	if err != nil {
		return false, fmt.Errorf("revision: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}
