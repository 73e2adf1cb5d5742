package address

// rowsOfRange makes the rows of the IPv4 range $1.
const rowsOfRange = `
		INSERT INTO address (ip, range_id, pool_id, state)
		SELECT x.ip, r.id, r.pool_id, CASE
			WHEN x.ip = n.gateway THEN 'gateway'
			WHEN masklen(n.cidr) >= 31 THEN 'free'
			WHEN x.ip = host(n.cidr)::inet THEN 'network'
			WHEN x.ip = host(broadcast(n.cidr))::inet THEN 'broadcast'
			ELSE 'free' END
		FROM pool_range r JOIN network n ON n.id = r.network_id,
		     LATERAL (SELECT r.first + g AS ip FROM generate_series(0, r.last - r.first) g) x
		WHERE r.id = $1`
