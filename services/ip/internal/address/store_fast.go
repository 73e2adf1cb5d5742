package address

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// claimFast makes the usual claim in one round trip. When ok is false, nothing has changed or the outcome is unknown; a
// claim in a unit of work finds out, because it looks for addresses with the key.
func (m *claimer) claimFast(ctx context.Context, r request) (list []row, ok bool) {
	if !r.isFirst() || r.IPv4 == 0 || r.IPv6 > 0 || r.Wish.IsValid() || r.OfNetwork != 0 {
		return nil, false
	}
	if r.IPv4 == 1 && r.Pools == nil {
		return m.batcher.claim(ctx, r)
	}
	sql, args := fastOfCluster, []any{r.Owner, r.Cluster, r.IPv4, r.Account, r.Lapse}
	if r.Pools != nil {
		sql, args = fastNamed, append(args, r.Pools)
	}
	rows, err := m.db.Query(ctx, sql, args...)
	if err != nil {
		return nil, false
	}
	list, err = pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil || len(list) != r.IPv4 {
		return nil, false
	}
	slices.SortFunc(list, func(a, b row) int { return cmp.Compare(a.Position, b.Position) })
	return list, true
}
