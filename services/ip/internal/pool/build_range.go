package pool

// Statements that lock ranges and read their networks.
const (
	lockIPv6 = `
		SELECT r.id, r.pool_id, r.first, r.last, r.next, n.cidr
		FROM pool_range r JOIN network n ON n.id = r.network_id
		WHERE r.pool_id = ANY($1) AND family(r.first) = 6 AND ($2 = 0 OR r.network_id = $2)
		ORDER BY r.id FOR NO KEY UPDATE OF r`
	lockWithin = `
		SELECT r.id, r.first, r.last, n.cidr FROM pool_range r JOIN network n ON n.id = r.network_id
		WHERE r.pool_id = $1 AND inetrange(r.first, r.last, '[]') @> $2::inet FOR NO KEY UPDATE OF r`
)
