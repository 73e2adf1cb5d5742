package keyring

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// signingKey is a key that signs identities, as it is stored.
type signingKey struct {
	ID     string
	Seed   []byte // in plain, of a key from before there were master keys
	Sealed []byte
	Public []byte // of a sealed key
	Signs  bool   // it is the one that signs now
}

const signingKeys = `
	SELECT id, seed, sealed, public,
	       id = (SELECT id FROM signing_key ORDER BY signs_from <= now() DESC, signs_from DESC, id LIMIT 1) AS signs
	FROM signing_key ORDER BY signs_from DESC, id`

// readAll reads all keys, the newest first.
func readAll(ctx context.Context, db pg.DB) ([]signingKey, error) {
	rows, err := db.Query(ctx, signingKeys)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[signingKey])
}

// insert stores a sealed key, which signs when notice has passed.
func insert(ctx context.Context, tx *unit.Tx, k signingKey, notice time.Duration) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO signing_key (id, sealed, public, signs_from) VALUES ($1, $2, $3, now() + $4::interval)`,
		k.ID, k.Sealed, k.Public, notice)
	return err
}

// setSealed replaces the seed of a key by its sealed form.
func setSealed(ctx context.Context, tx *unit.Tx, k signingKey) error {
	_, err := tx.Exec(ctx, `
		UPDATE signing_key SET seed = NULL, sealed = $2, public = $3 WHERE id = $1`, k.ID, k.Sealed, k.Public)
	return err
}

// allOlder reports whether even the newest key is older than age.
func allOlder(ctx context.Context, tx *unit.Tx, age time.Duration) (older bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT coalesce(max(signs_from) < now() - $1::interval, true) FROM signing_key`, age).Scan(&older)
	return older, err
}

// deleteOld removes keys that have not signed for as long as since.
func deleteOld(ctx context.Context, tx *unit.Tx, since time.Duration) error {
	_, err := tx.Exec(ctx, `
		DELETE FROM signing_key k
		WHERE EXISTS (SELECT FROM signing_key n WHERE n.signs_from > k.signs_from AND n.signs_from < now() - $1::interval)`, since)
	return err
}
