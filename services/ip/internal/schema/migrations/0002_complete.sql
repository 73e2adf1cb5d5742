-- +goose Up

-- A container holds networks and gives no addresses; an active network gives addresses and holds none. Active networks
-- never overlap; that no container lies inside an active network is looked after by the one who inserts, under a lock.
ALTER TABLE network
    ADD COLUMN type        text    NOT NULL DEFAULT 'active' CHECK (type IN ('container', 'active')),
    ADD COLUMN dns_servers inet[]  NOT NULL DEFAULT '{}',
    ADD COLUMN vlan        integer CHECK (vlan BETWEEN 1 AND 4094),
    ALTER COLUMN gateway DROP NOT NULL,
    ADD CHECK (type = 'container' OR gateway IS NOT NULL),
    DROP CONSTRAINT network_overlap,
    ADD CONSTRAINT network_cidr UNIQUE (cidr),
    ADD CONSTRAINT network_overlap EXCLUDE USING gist (cidr inet_ops WITH &&) WHERE (type = 'active');
CREATE INDEX network_nesting ON network USING gist (cidr inet_ops);

-- A pool with an account serves the hosts of this account alone.
ALTER TABLE pool ADD COLUMN account_id integer CHECK (account_id > 0);

-- State 'special' is what the version before calls a gateway. A reserved address without owner is held by an
-- administrator, for whatever its note says, and never lapses.
ALTER TABLE address
    ADD COLUMN claim      uuid, -- the key of the claim that took it
    ADD COLUMN account_id integer,
    ADD COLUMN note       text    NOT NULL DEFAULT '',
    ADD COLUMN ptr_serial integer NOT NULL DEFAULT 0, -- grows with every change of domain
    DROP CONSTRAINT address_state_check,
    DROP CONSTRAINT address_check1,
    DROP CONSTRAINT address_check3,
    ADD CONSTRAINT address_state CHECK (state IN ('free', 'reserved', 'assigned', 'quarantined',
                                                  'gateway', 'network', 'broadcast', 'special')),
    ADD CONSTRAINT address_owner CHECK (CASE state WHEN 'assigned' THEN owner IS NOT NULL
                                                   WHEN 'reserved' THEN (owner IS NULL) = (until IS NULL)
                                                   ELSE owner IS NULL END),
    ADD CONSTRAINT address_until CHECK (CASE state WHEN 'quarantined' THEN until IS NOT NULL
                                                   WHEN 'reserved' THEN true
                                                   ELSE until IS NULL END);
UPDATE address SET claim = owner WHERE owner IS NOT NULL;
UPDATE address SET state = 'gateway' WHERE state = 'special';
INSERT INTO address (ip, range_id, pool_id, state)
SELECT x.ip, r.id, r.pool_id, x.state
FROM pool_range r JOIN network n ON n.id = r.network_id,
     LATERAL (VALUES (host(n.cidr)::inet, 'network'), (host(broadcast(n.cidr))::inet, 'broadcast')) x(ip, state)
WHERE family(r.first) = 4 AND masklen(n.cidr) < 31 AND x.ip BETWEEN r.first AND r.last;

-- Room for new versions of a row beside the old ones, and few dead entries before the first free address.
ALTER TABLE address SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Who had an address when. It names no rows: it outlives them.
CREATE TABLE address_history (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address_id  integer     NOT NULL,
    ip          inet        NOT NULL,
    owner       uuid        NOT NULL,
    account_id  integer,
    generation  integer     NOT NULL,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz
);
CREATE INDEX address_history_ip ON address_history (ip, id);
CREATE UNIQUE INDEX address_history_open ON address_history (address_id) WHERE released_at IS NULL;
INSERT INTO address_history (address_id, ip, owner, generation)
SELECT id, ip, owner, generation FROM address WHERE state = 'assigned';
CREATE INDEX address_history_address ON address_history (address_id);

-- What the name servers shall say and what they have confirmed. An attempt under way may have told them more.
CREATE TABLE ptr (
    ip        inet PRIMARY KEY,
    wanted    text NOT NULL,
    published text NOT NULL DEFAULT '',
    attempt   integer NOT NULL DEFAULT 0,
    due       timestamptz DEFAULT now(), -- null when the name servers know
    CHECK (due IS NOT NULL OR wanted = published)
);
CREATE INDEX ptr_due ON ptr (due) WHERE due IS NOT NULL;

CREATE TABLE setting (
    name  text PRIMARY KEY,
    value text NOT NULL
);
