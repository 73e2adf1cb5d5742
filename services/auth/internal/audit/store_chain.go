package audit

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/unit"
)

const linkBatch = 500

// link appends records that wait to the chain, on the connection of the leader, so that there are no two chains. It
// returns the head and how many records it appended.
func link(ctx context.Context, l *lead.Leader) (last head, n int, err error) {
	err = l.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT `+columns+` FROM audit WHERE id IN (SELECT audit_id FROM audit_unsealed ORDER BY audit_id LIMIT $1)
			ORDER BY id`, linkBatch)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByName[record])
		if n = len(list); err != nil || n == 0 {
			return err
		}
		if last, err = headOf(ctx, tx); err != nil {
			return err
		}
		ids, seqs, hashes := make([]int64, n), make([]int64, n), make([][]byte, n)
		for i, r := range list {
			last = last.next(r)
			ids[i], seqs[i], hashes[i] = r.ID, last.seq, last.hash
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO audit_link (seq, audit_id, hash) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])`,
			seqs, ids, hashes); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM audit_unsealed WHERE audit_id = ANY($1)`, ids)
		return err
	})
	return last, n, err
}

func headOf(ctx context.Context, tx pgx.Tx) (h head, err error) {
	err = tx.QueryRow(ctx, `SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1`).Scan(&h.seq, &h.hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return head{}, nil
	}
	return h, err
}

// linked is a record with its link.
type linked struct {
	Seq  int64
	Hash []byte
	record
}

// verify walks the chain as it is at one moment. known is a head that was noted before, or none.
func verify(ctx context.Context, db *unit.DB, known head) (v verdict, err error) {
	tx, err := db.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return v, err
	}
	defer func() { _ = tx.Rollback(ctx) }() // it wrote nothing
	w := newWalk(known)
	rows, err := tx.Query(ctx, `SELECT l.seq, l.hash, a.* FROM audit_link l JOIN (SELECT `+columns+` FROM audit) a ON a.id = l.audit_id ORDER BY l.seq`)
	if err != nil {
		return v, err
	}
	defer rows.Close()
	for rows.Next() && w.going() {
		l, err := pgx.RowToStructByName[linked](rows)
		if err != nil {
			return v, err
		}
		w.step(head{l.Seq, l.Hash}, l.record)
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
		       (SELECT count(*) FROM audit_unsealed)`, w.expected()).Scan(&gone, &stray, &w.unsealed)
	if err != nil {
		return v, err
	}
	return w.end(gone, stray), nil
}
