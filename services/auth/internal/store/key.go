package store

import (
	"context"
	"crypto/ed25519"

	"github.com/jackc/pgx/v5"
)

// SigningKey is a key that signs identities.
type SigningKey struct {
	ID   string
	Seed []byte
}

// Private is the key itself.
func (k SigningKey) Private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.Seed) }

const signingKeys = `SELECT id, seed FROM signing_key ORDER BY created_at DESC, id`

// SigningKeys reads all keys, the one that signs first.
func (s *Store) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := s.pool.Query(ctx, signingKeys)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[SigningKey])
}

// SigningKeys reads all keys, the one that signs first.
func (t Tx) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := t.tx.Query(ctx, signingKeys)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[SigningKey])
}

// AddSigningKey stores a key, which signs from now on.
func (t Tx) AddSigningKey(ctx context.Context, k SigningKey) error {
	_, err := t.tx.Exec(ctx, `INSERT INTO signing_key (id, seed) VALUES ($1, $2)`, k.ID, k.Seed)
	return err
}
