-- +goose Up
-- One row for each request that carried a key. The key itself is not stored, only its hash: the request is summed with the
-- key, so that nobody who reads this table can try passwords against the sum.
CREATE TABLE idem (
    account_id  integer     NOT NULL,
    key         bytea       NOT NULL, -- SHA-256
    request     bytea       NOT NULL, -- HMAC of method and request
    owner       text        NOT NULL, -- who is carrying it out
    until       timestamptz NOT NULL, -- when the owner counts as dead
    answer_type text        NOT NULL DEFAULT '',
    answer      bytea,                -- null: not carried out yet
    made_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, key)
);
CREATE INDEX idem_made ON idem (made_at);
