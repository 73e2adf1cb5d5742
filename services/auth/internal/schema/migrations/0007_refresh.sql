-- +goose Up

-- Every credential that lives is a row of token, so that all of them end alike. kind names those that are neither a session
-- nor a token of the VMmanager dialect. A session with refresh tokens has no value of its own: its access tokens name it.
ALTER TABLE token
    ALTER COLUMN hash DROP NOT NULL,
    ADD COLUMN kind       text CHECK (kind IN ('apikey', 'keystone', 'refresh')),
    ADD COLUMN uuid       uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT token_uuid UNIQUE,
    ADD COLUMN method     text NOT NULL DEFAULT 'password',
    ADD COLUMN ip         text NOT NULL DEFAULT '', -- where it was used last
    ADD COLUMN user_agent text NOT NULL DEFAULT '',
    ADD CONSTRAINT token_value CHECK ((kind IS NOT DISTINCT FROM 'refresh') = (hash IS NULL)),
    ADD CONSTRAINT token_kind CHECK (kind IS NULL OR NOT sliding);

CREATE TABLE refresh_session (
    session integer  PRIMARY KEY REFERENCES token ON DELETE CASCADE,
    access  interval NOT NULL, -- how long access tokens live
    idle    interval NOT NULL  -- how long a refresh token may stay unused
);

-- All refresh tokens that a session ever had: a second use of one is the sign of a theft. The next one is made of this one's
-- value and salt, so that it can be told again and is stored nowhere; salt goes as soon as the next one is used.
CREATE TABLE refresh_token (
    hash    bytea       PRIMARY KEY CHECK (octet_length(hash) = 32),
    session integer     NOT NULL REFERENCES refresh_session ON DELETE CASCADE,
    used_at timestamptz,
    used_by bytea, -- the client's address and user agent, hashed
    salt    bytea
);
CREATE INDEX refresh_token_session ON refresh_token (session);
