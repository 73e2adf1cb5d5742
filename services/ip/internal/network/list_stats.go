package network

import (
	"context"
	"net/netip"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
)

// Count counts the addresses of the ranges r for which the SQL condition ranges holds. It returns the fault missing
// when the statement exists selects no row. Both have the parameter id, and ranges also has the parameter family.
func Count(ctx context.Context, db *unit.DB, exists, ranges string, id, family int32, missing error) (*ippb.Stats, error) {
	st, found, err := count(ctx, db, exists, ranges, id, family)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, missing
	}
	return &ippb.Stats{
		Total: clamp.Int32(st.Total), Usable: clamp.Int32(st.Usable), Assigned: clamp.Int32(st.Assigned), Reserved: clamp.Int32(st.Reserved),
		Quarantined: clamp.Int32(st.Quarantined), Free: clamp.Int32(st.free()), UtilizationPct: st.utilization(),
	}, nil
}

// countNetwork counts the addresses of a network and of all networks inside it.
func countNetwork(ctx context.Context, db *unit.DB, id int32) (*ippb.Stats, error) {
	return Count(ctx, db, `SELECT id FROM network WHERE id = $1`, `$2 = 0 AND r.network_id IN (
		SELECT x.id FROM network x JOIN network n ON x.cidr <<= n.cidr WHERE n.id = $1)`, id, 0, missing(id))
}

// count counts the addresses of the ranges r that ranges selects. found is false when exists selects no row. Both
// conditions have the parameters id and family.
func count(ctx context.Context, db *unit.DB, exists, ranges string, id, family int32) (st stats, found bool, err error) {
	b := &pgx.Batch{}
	b.Queue(exists, id).Query(func(rows pgx.Rows) error { found = rows.Next(); rows.Close(); return rows.Err() })
	b.Queue(`SELECT r.first, r.last, r.usable FROM pool_range r WHERE `+ranges, id, family).Query(func(rows pgx.Rows) error {
		var first, last netip.Addr
		var usable int64
		_, err := pgx.ForEachRow(rows, []any{&first, &last, &usable}, func() error {
			st.Total += inet.Range{First: first, Last: last}.Size()
			st.Usable += usable
			return nil
		})
		return err
	})
	b.Queue(`
		SELECT a.state, count(*) FROM pool_range r JOIN address a ON a.range_id = r.id
		WHERE a.state <> 'free' AND `+ranges+` GROUP BY 1`, id, family).Query(func(rows pgx.Rows) error {
		var state string
		var n int64
		_, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error {
			switch state {
			case "assigned":
				st.Assigned += n
			case "reserved":
				st.Reserved += n
			case "quarantined":
				st.Quarantined += n
			case "gateway":
				st.Usable -= n
			}
			return nil
		})
		return err
	})
	err = db.Pool.SendBatch(ctx, b).Close()
	return st, found, err
}
