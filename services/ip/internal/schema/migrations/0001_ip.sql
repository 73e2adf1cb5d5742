-- +goose Up

-- A number that grows with every change of what lists show: last_notify of their envelopes.
CREATE SEQUENCE notify;
-- +goose StatementBegin
CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('notify');
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TYPE inetrange AS RANGE (subtype = inet);

CREATE TABLE network (
    id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cidr    cidr NOT NULL,
    gateway inet NOT NULL,
    note    text NOT NULL DEFAULT '',
    CHECK (gateway << cidr),
    CONSTRAINT network_overlap EXCLUDE USING gist (cidr inet_ops WITH &&)
);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON network EXECUTE FUNCTION changed();

CREATE TABLE pool (
    id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (name <> ''),
    note text NOT NULL DEFAULT ''
);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON pool EXECUTE FUNCTION changed();

-- The clusters are the vm service's; their names are a copy.
CREATE TABLE pool_cluster (
    pool_id    integer NOT NULL REFERENCES pool ON DELETE CASCADE,
    cluster_id integer NOT NULL CHECK (cluster_id > 0),
    interface  integer NOT NULL DEFAULT 0 CHECK (interface >= 0),
    name       text    NOT NULL DEFAULT '',
    PRIMARY KEY (pool_id, cluster_id)
);
CREATE INDEX pool_cluster_cluster ON pool_cluster (cluster_id, pool_id);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON pool_cluster EXECUTE FUNCTION changed();

-- usable counts the addresses that a machine or a gateway may have. next is, for IPv6 only, where the search for a free
-- address goes on.
CREATE TABLE pool_range (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pool_id    integer NOT NULL REFERENCES pool,
    network_id integer NOT NULL CONSTRAINT pool_range_network REFERENCES network,
    name       text    NOT NULL,
    first      inet    NOT NULL,
    last       inet    NOT NULL,
    usable     bigint  NOT NULL CHECK (usable > 0),
    next       inet,
    CHECK (first <= last AND family(first) = family(last)),
    CHECK ((next IS NULL) = (family(first) = 4)),
    CONSTRAINT pool_range_overlap EXCLUDE USING gist (inetrange(first, last, '[]') WITH &&)
);
CREATE INDEX pool_range_pool ON pool_range (pool_id, first);
CREATE INDEX pool_range_network ON pool_range (network_id);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON pool_range EXECUTE FUNCTION changed();

-- One row for each address of an IPv4 range, and for each IPv6 address that is not free. A claim is an update of one
-- row, so no address can have two owners.
CREATE TABLE address (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ip         inet    NOT NULL CONSTRAINT address_ip UNIQUE,
    range_id   integer NOT NULL REFERENCES pool_range,
    pool_id    integer NOT NULL, -- the range's
    state      text    NOT NULL CHECK (state IN ('free', 'reserved', 'assigned', 'quarantined', 'special')),
    owner      uuid,
    position   integer, -- order in which the owner has its addresses
    interface  integer NOT NULL DEFAULT 0,
    domain     text    NOT NULL DEFAULT '',
    generation integer NOT NULL DEFAULT 0, -- grows with every change of owner
    until      timestamptz, -- when the reservation lapses or the quarantine ends
    CHECK (state <> 'free' OR family(ip) = 4),
    CHECK ((state IN ('reserved', 'assigned')) = (owner IS NOT NULL)),
    CHECK ((owner IS NULL) = (position IS NULL)),
    CHECK ((state IN ('reserved', 'quarantined')) = (until IS NOT NULL)),
    CONSTRAINT address_position UNIQUE (owner, position)
);
CREATE INDEX address_range ON address (range_id, ip);
CREATE INDEX address_free ON address (pool_id, ip) WHERE state = 'free';
CREATE INDEX address_busy ON address (pool_id, state) WHERE state <> 'free';
CREATE INDEX address_due ON address (until) WHERE until IS NOT NULL;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON address EXECUTE FUNCTION changed();
