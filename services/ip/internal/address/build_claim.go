package address

import "slipway.dev/services/ip/internal/pool"

// This file holds the statements of claims. One round trip chooses among the pools of a cluster, takes rows, and
// returns each address with its network, so the statements read the tables of pools and networks.

// Pools that serve cluster $1 and account $2: all of them, or those with the ids $3.
const (
	poolsOfCluster = `
		SELECT p.id, p.name, b.interface, false FROM pool_cluster b JOIN pool p ON p.id = b.pool_id
		WHERE b.cluster_id = $1 AND (p.account_id IS NULL OR p.account_id = $2) ORDER BY p.id`
	poolsNamed = `
		SELECT w.id, coalesce(p.name, ''), coalesce(b.interface, -1), coalesce(p.account_id <> $2, false)
		FROM unnest($3::integer[]) WITH ORDINALITY w(id, n)
		LEFT JOIN pool p ON p.id = w.id
		LEFT JOIN pool_cluster b ON b.pool_id = p.id AND b.cluster_id = $1 ORDER BY w.n`
)

// Conditions of the rows to take: the lowest free ones of a pool, or the row with an id.
const (
	lowest     = `pool_id = $1 AND state = 'free' AND ` + ofNetwork + ` ORDER BY ip LIMIT $3 FOR UPDATE SKIP LOCKED`
	lowestWait = `pool_id = $1 AND state = 'free' AND ` + ofNetwork + ` ORDER BY ip LIMIT $3 FOR UPDATE`
	thisOne    = `id = $1 AND state IN ('free', 'quarantined') AND ` + ofNetwork + ` LIMIT $3 FOR UPDATE`

	// ofNetwork is true for rows of network $2, and for all rows if $2 is 0.
	ofNetwork = `($2 = 0 OR range_id IN (SELECT id FROM pool_range WHERE network_id = $2))`
)

// Families: of the network $1, and of the ranges of the pools $1, IPv4 before IPv6.
const (
	familyOfNetwork = `SELECT family(cidr) FROM network WHERE id = $1`
	familyOfPools   = `SELECT coalesce(min(family(first)), 4) FROM pool_range WHERE pool_id = ANY($1)`
	familyOfCluster = `SELECT coalesce(min(family(r.first)), 4) FROM pool_range r JOIN pool_cluster b ON b.pool_id = r.pool_id WHERE b.cluster_id = $1`
)

// wished locks the row of the address $1, and reads which account had the address last.
const wished = `
	SELECT id, pool_id, state, until, coalesce((
		SELECT h.account_id FROM address_history h WHERE h.address_id = address.id ORDER BY h.id DESC LIMIT 1), 0)
	FROM address WHERE ip = $1 FOR UPDATE`

// takeRows returns the statement that gives the owner $4 the rows that the condition which selects.
func takeRows(which string) string {
	return `
		WITH picked AS MATERIALIZED (
			SELECT id, ip FROM address WHERE ` + which + `
		), numbered AS (
			SELECT id, (row_number() OVER (ORDER BY ip) - 1)::integer AS n FROM picked
		)
		UPDATE address a SET state = 'reserved', owner = $4, claim = $5, account_id = nullif($6, 0),
			position = $7 + k.n, interface = $8, until = now() + $9::interval, generation = a.generation + 1,
			rest_until = CASE a.state WHEN 'quarantined' THEN a.until END
		FROM numbered k, pool_range r JOIN network n ON n.id = r.network_id
		WHERE a.id = k.id AND r.id = a.range_id
		RETURNING ` + columns
}

// insertIPv6 gives the owner $4 the address $3 of the IPv6 range $1, and makes $2 the cursor of the range.
const insertIPv6 = `
		WITH cursor AS (
			` + pool.MoveCursor + `
		), a AS (
			INSERT INTO address (ip, range_id, pool_id, state, owner, claim, account_id, position, interface, until, generation)
			SELECT $3, id, pool_id, 'reserved', $4, $5, nullif($6, 0), $7, $8, now() + $9::interval, 1
			FROM pool_range WHERE id = $1
			RETURNING *
		)
		SELECT ` + columns + ` FROM a JOIN pool_range r ON r.id = a.range_id JOIN network n ON n.id = r.network_id`

// fast returns the statement that claims $3 IPv4 addresses for an owner that has none, all or nothing: the lowest free
// ones of the first pools that have some. It skips rows that another unit of work has locked, so two claims never wait
// for each other. The unique position refuses two claims of one owner at the same time.
func fast(pools string) string {
	return `
	WITH pools AS MATERIALIZED (
		` + pools + `
	), picked AS MATERIALIZED (
		SELECT f.id, f.ip, p.n, p.interface FROM pools p CROSS JOIN LATERAL (
			SELECT id, ip FROM address WHERE pool_id = p.id AND state = 'free' ORDER BY ip LIMIT $3 FOR UPDATE SKIP LOCKED
		) f LIMIT $3
	), numbered AS (
		SELECT id, interface, (row_number() OVER (ORDER BY n, ip) - 1)::integer AS n, count(*) OVER () AS got FROM picked
	)
	UPDATE address a SET state = 'reserved', owner = $1, claim = $1, account_id = nullif($4, 0), position = k.n,
		interface = k.interface, until = now() + $5::interval, generation = a.generation + 1
	FROM numbered k, pool_range r JOIN network n ON n.id = r.network_id
	WHERE a.id = k.id AND r.id = a.range_id AND k.got = $3
	RETURNING ` + columns
}

// newOwner is true if the owner $1 has no address.
const newOwner = `NOT EXISTS (SELECT FROM address WHERE owner = $1)`

var (
	fastOfCluster = fast(`
		SELECT p.id, p.id AS n, b.interface FROM pool_cluster b JOIN pool p ON p.id = b.pool_id
		WHERE b.cluster_id = $2 AND (p.account_id IS NULL OR p.account_id = $4) AND ` + newOwner + ` ORDER BY p.id`)
	fastNamed = fast(`
		SELECT p.id, w.n, b.interface FROM unnest($6::integer[]) WITH ORDINALITY w(id, n)
		JOIN pool p ON p.id = w.id AND (p.account_id IS NULL OR p.account_id = $4)
		JOIN pool_cluster b ON b.pool_id = p.id AND b.cluster_id = $2
		WHERE ` + newOwner + ` AND cardinality($6) = (
			SELECT count(*) FROM pool_cluster x JOIN pool y ON y.id = x.pool_id
			WHERE x.cluster_id = $2 AND x.pool_id = ANY($6) AND (y.account_id IS NULL OR y.account_id = $4))
		ORDER BY w.n`)
)

// batchOfCluster claims one IPv4 address for each of the owners $1 that has none yet, up to $5 addresses in all.
const batchOfCluster = `
	WITH wants AS MATERIALIZED (
		SELECT w.owner, row_number() OVER (ORDER BY w.n) AS n
		FROM (SELECT u.x::uuid AS owner, u.n FROM unnest($1::text[]) WITH ORDINALITY u(x, n)) w
		WHERE NOT EXISTS (SELECT FROM address a WHERE a.owner = w.owner)
	), pools AS MATERIALIZED (
		SELECT p.id, b.interface FROM pool_cluster b JOIN pool p ON p.id = b.pool_id
		WHERE b.cluster_id = $2 AND (p.account_id IS NULL OR p.account_id = $3) ORDER BY p.id
	), picked AS MATERIALIZED (
		SELECT f.id, f.ip, p.id AS pool, p.interface FROM pools p CROSS JOIN LATERAL (
			SELECT id, ip FROM address WHERE pool_id = p.id AND state = 'free' ORDER BY ip LIMIT $5 FOR UPDATE SKIP LOCKED
		) f LIMIT $5
	), numbered AS (
		SELECT id, interface, row_number() OVER (ORDER BY pool, ip) AS n FROM picked
	)
	UPDATE address a SET state = 'reserved', owner = w.owner, claim = w.owner, account_id = nullif($3, 0), position = 0,
		interface = k.interface, until = now() + $4::interval, generation = a.generation + 1
	FROM numbered k JOIN wants w ON w.n = k.n, pool_range r JOIN network n ON n.id = r.network_id
	WHERE a.id = k.id AND r.id = a.range_id
	RETURNING ` + columns
