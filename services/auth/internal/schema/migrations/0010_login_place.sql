-- +goose Up

-- When the last of the failures was.
ALTER TABLE login_failure ADD COLUMN last timestamptz NOT NULL DEFAULT now();

-- Where accounts have logged in, by a hash of the account and of the client's network.
CREATE TABLE login_place (
    key  bytea       PRIMARY KEY CHECK (octet_length(key) = 32),
    seen timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX login_place_seen ON login_place (seen);
