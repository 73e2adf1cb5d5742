-- +goose Up

-- A network of a single address needs no gateway.
ALTER TABLE network DROP CONSTRAINT network_check1;

-- A gateway outside its own network is no address to give either.
UPDATE address a SET state = 'gateway' FROM network n WHERE n.gateway = a.ip AND a.state = 'free';
INSERT INTO address (ip, range_id, pool_id, state)
SELECT DISTINCT n.gateway, r.id, r.pool_id, 'gateway'
FROM network n JOIN pool_range r ON inetrange(r.first, r.last, '[]') @> n.gateway
WHERE family(n.gateway) = 6
ON CONFLICT (ip) DO NOTHING;
