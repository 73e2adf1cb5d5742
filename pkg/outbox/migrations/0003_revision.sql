-- +goose Up
-- Of two events of one key the one with the higher revision is newer.
ALTER TABLE outbox ADD revision bigint NOT NULL DEFAULT 0;
CREATE INDEX outbox_revision ON outbox (key, revision);

-- The newest event of each object of which this schema has a copy.
CREATE TABLE inbox_revision (
    object   text   PRIMARY KEY,
    revision bigint NOT NULL
);
ALTER TABLE inbox_parked ADD revision bigint NOT NULL DEFAULT 0;
