package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// SigningKey is a key that signs identities.
type SigningKey struct {
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

// SigningKeys reads all keys, the newest first.
func (s *Store) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := s.pool.Query(ctx, signingKeys)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[SigningKey])
}

// SigningKeys reads all keys, the newest first.
func (t Tx) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := t.Query(ctx, signingKeys)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[SigningKey])
}

// AddSigningKey stores a sealed key, which signs when notice has passed.
func (t Tx) AddSigningKey(ctx context.Context, k SigningKey, notice time.Duration) error {
	_, err := t.Exec(ctx, `
		INSERT INTO signing_key (id, sealed, public, signs_from) VALUES ($1, $2, $3, now() + $4::interval)`,
		k.ID, k.Sealed, k.Public, notice)
	return err
}

// SealSigningKey replaces how the seed of a key is kept.
func (t Tx) SealSigningKey(ctx context.Context, k SigningKey) error {
	_, err := t.Exec(ctx, `
		UPDATE signing_key SET seed = NULL, sealed = $2, public = $3 WHERE id = $1`, k.ID, k.Sealed, k.Public)
	return err
}

// SigningKeyOlder reports whether even the newest key is older than age.
func (t Tx) SigningKeyOlder(ctx context.Context, age time.Duration) (older bool, err error) {
	err = t.QueryRow(ctx, `
		SELECT coalesce(max(signs_from) < now() - $1::interval, true) FROM signing_key`, age).Scan(&older)
	return older, err
}

// DeleteSigningKeys removes keys that have not signed for so long.
func (t Tx) DeleteSigningKeys(ctx context.Context, since time.Duration) error {
	_, err := t.Exec(ctx, `
		DELETE FROM signing_key k
		WHERE EXISTS (SELECT FROM signing_key n WHERE n.signs_from > k.signs_from AND n.signs_from < now() - $1::interval)`, since)
	return err
}
