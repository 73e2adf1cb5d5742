-- +goose Up

-- Grows when what was proven of an account before is worth nothing any more: a login that began under another epoch opens
-- no session.
ALTER TABLE user_account ADD COLUMN epoch integer NOT NULL DEFAULT 0;

-- A key opens one session, once. Used ones stay until they expire; none outlives what it was given for, see epoch.
CREATE TABLE login_key (
    hash       bytea       PRIMARY KEY CHECK (octet_length(hash) = 32),
    account_id integer     NOT NULL REFERENCES user_account ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX login_key_account ON login_key (account_id);
CREATE INDEX login_key_expires_at ON login_key (expires_at);
