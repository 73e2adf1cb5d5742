package store

import (
	"context"
	"net/netip"

	"github.com/jackc/pgx/v5"

	"slipway.dev/services/ip/internal/domain"
)

// PoolStats counts the addresses of a pool; family 0 counts both.
func (s *Store) PoolStats(ctx context.Context, id, family int32) (domain.Stats, error) {
	return s.stats(ctx, `SELECT id FROM pool WHERE id = $1`, noPool(id), `r.pool_id = $1 AND $2 IN (0, family(r.first))`, id, family)
}

// NetworkStats counts the addresses of a network; of a container, of all networks inside.
func (s *Store) NetworkStats(ctx context.Context, id int32) (domain.Stats, error) {
	return s.stats(ctx, `SELECT id FROM network WHERE id = $1`, noNetwork(id), `$2 = 0 AND r.network_id IN (
		SELECT x.id FROM network x JOIN network n ON x.cidr <<= n.cidr WHERE n.id = $1)`, id, 0)
}

func (s *Store) stats(ctx context.Context, exists string, missing error, which string, id, family int32) (st domain.Stats, err error) {
	b := &pgx.Batch{}
	found := false
	b.Queue(exists, id).Query(func(rows pgx.Rows) error { found = rows.Next(); rows.Close(); return rows.Err() })
	b.Queue(`SELECT r.first, r.last, r.usable FROM pool_range r WHERE `+which, id, family).Query(func(rows pgx.Rows) error {
		var first, last netip.Addr
		var usable int64
		_, err := pgx.ForEachRow(rows, []any{&first, &last, &usable}, func() error {
			st.Total += domain.Range{First: first, Last: last}.Size()
			st.Usable += usable
			return nil
		})
		return err
	})
	b.Queue(`
		SELECT a.state, count(*) FROM pool_range r JOIN address a ON a.range_id = r.id
		WHERE a.state <> 'free' AND `+which+` GROUP BY 1`, id, family).Query(func(rows pgx.Rows) error {
		var state string
		var n int64
		_, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error {
			switch state {
			case domain.StateAssigned:
				st.Assigned += n
			case domain.StateReserved:
				st.Reserved += n
			case domain.StateQuarantined:
				st.Quarantined += n
			case domain.StateGateway:
				st.Usable -= n
			}
			return nil
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return st, err
	}
	if !found {
		return st, missing
	}
	return st, nil
}
