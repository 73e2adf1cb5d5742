-- +goose Up

-- The installation that this database belongs to: what the first node says. Nodes of another one are refused.
CREATE TABLE installation (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    id         text NOT NULL CHECK (id <> ''),
    jumped_at  timestamptz -- when ids were last moved on, because the nodes knew higher ones
);

-- Hosts that are gone, for ever: the proof that a machine which turns up again may be removed.
CREATE TABLE tombstone (
    uuid       uuid PRIMARY KEY,
    host_id    integer NOT NULL,
    node       uuid NOT NULL,
    fence      bigint NOT NULL, -- of the command that removed it
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Machines on the nodes that are no hosts, as they were last seen.
CREATE TABLE stranger (
    node_id    integer NOT NULL REFERENCES node ON DELETE CASCADE,
    uuid       uuid NOT NULL,
    host_id    integer NOT NULL,
    state      text NOT NULL,
    verdict    text NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node_id, uuid)
);

-- What was removed without anybody having asked for it. The breaker counts it.
CREATE TABLE reaped (
    node_id integer NOT NULL REFERENCES node ON DELETE CASCADE,
    uuid    uuid NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reaped_node ON reaped (node_id, at);

ALTER TABLE node
    ADD breaker_opened_at timestamptz,
    ADD breaker_since     timestamptz NOT NULL DEFAULT '-infinity'; -- what was removed earlier does not count
