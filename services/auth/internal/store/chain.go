package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/pg"
	"slipway.dev/services/auth/internal/domain"
)

const linkBatch = 500

// Link gives records that wait their place in the chain, on the connection of the leader: two chains cannot be. It returns
// the head and how many records it took.
func Link(ctx context.Context, conn *pgxpool.Conn) (head domain.Head, n int, err error) {
	err = pg.InTxOn(ctx, conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT `+auditColumns+` FROM audit WHERE id IN (SELECT audit_id FROM audit_unsealed ORDER BY audit_id LIMIT $1)
			ORDER BY id`, linkBatch)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByName[domain.Record])
		if n = len(list); err != nil || n == 0 {
			return err
		}
		if head, err = headOf(ctx, tx); err != nil {
			return err
		}
		ids, seqs, hashes := make([]int64, n), make([]int64, n), make([][]byte, n)
		for i, r := range list {
			head = head.Next(r)
			ids[i], seqs[i], hashes[i] = r.ID, head.Seq, head.Hash
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO audit_link (seq, audit_id, hash) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])`,
			seqs, ids, hashes); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM audit_unsealed WHERE audit_id = ANY($1)`, ids)
		return err
	})
	return head, n, err
}

func headOf(ctx context.Context, tx pgx.Tx) (h domain.Head, err error) {
	err = tx.QueryRow(ctx, `SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1`).Scan(&h.Seq, &h.Hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return domain.Head{}, nil
	}
	return h, err
}

// link is a record in its place.
type link struct {
	Seq  int64
	Hash []byte
	domain.Record
}

// Verify walks the chain as it is at one moment. known is a head that somebody noted before, or none.
func (s *Store) Verify(ctx context.Context, known domain.Head) (v domain.Verdict, err error) {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return v, err
	}
	defer func() { _ = tx.Rollback(ctx) }() // it wrote nothing
	w := domain.NewWalk(known)
	rows, err := tx.Query(ctx, `SELECT l.seq, l.hash, a.* FROM audit_link l JOIN (SELECT `+auditColumns+` FROM audit) a ON a.id = l.audit_id ORDER BY l.seq`)
	if err != nil {
		return v, err
	}
	defer rows.Close()
	for rows.Next() && w.Going() {
		l, err := pgx.RowToStructByName[link](rows)
		if err != nil {
			return v, err
		}
		w.Step(domain.Head{Seq: l.Seq, Hash: l.Hash}, l.Record)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return v, err
	}
	var gone, stray *int64
	err = tx.QueryRow(ctx, `
		SELECT (SELECT audit_id FROM audit_link WHERE seq = $1),
		       (SELECT min(id) FROM audit a WHERE NOT EXISTS (SELECT FROM audit_link WHERE audit_id = a.id)
		          AND NOT EXISTS (SELECT FROM audit_unsealed WHERE audit_id = a.id)),
		       (SELECT count(*) FROM audit_unsealed)`, w.Expected()).Scan(&gone, &stray, &w.Unsealed)
	if err != nil {
		return v, err
	}
	return w.End(gone, stray), nil
}
