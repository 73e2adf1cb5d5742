package address

// rowsOfRange makes the rows of the IPv4 range $1, in which the gateways $2 lie.
const rowsOfRange = `
		INSERT INTO address (ip, range_id, pool_id, state)
		SELECT x.ip, r.id, r.pool_id, CASE
			WHEN masklen(n.cidr) < 31 AND x.ip = host(n.cidr)::inet THEN 'network'
			WHEN masklen(n.cidr) < 31 AND x.ip = host(broadcast(n.cidr))::inet THEN 'broadcast'
			WHEN x.ip = ANY ($2::inet[]) THEN 'gateway'
			ELSE 'free' END
		FROM pool_range r JOIN network n ON n.id = r.network_id,
		     LATERAL (SELECT r.first + g AS ip FROM generate_series(0, r.last - r.first) g) x
		WHERE r.id = $1`
