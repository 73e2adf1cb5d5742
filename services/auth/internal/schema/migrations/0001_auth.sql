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

CREATE TABLE user_account (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email         text        NOT NULL CONSTRAINT user_account_email UNIQUE CHECK (email <> ''), -- folded
    password_hash text        NOT NULL,
    roles         text[]      NOT NULL CHECK (cardinality(roles) > 0),
    state         text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    auth_source   text        NOT NULL DEFAULT 'local',
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON user_account EXECUTE FUNCTION changed();

-- A sliding token is a session: it ends when it was unused for token_ttl. Others end at expires_at, or never. There is
-- no index on last_used, so that noting a use stays inside the page.
CREATE TABLE token (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  integer     NOT NULL REFERENCES user_account ON DELETE CASCADE,
    hash        bytea       NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    sliding     boolean     NOT NULL,
    expires_at  timestamptz,
    description text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    last_used   timestamptz NOT NULL DEFAULT now(),
    CHECK (NOT sliding OR expires_at IS NULL)
) WITH (fillfactor = 80);
CREATE INDEX token_account ON token (account_id);

CREATE TABLE ssh_key (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  integer     NOT NULL REFERENCES user_account ON DELETE CASCADE,
    name        text        NOT NULL,
    public_key  text        NOT NULL,
    fingerprint text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ssh_key_once UNIQUE (account_id, fingerprint)
);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON ssh_key EXECUTE FUNCTION changed();

-- The newest key signs; all of them verify. In the database, because replicas must agree.
CREATE TABLE signing_key (
    id         text        PRIMARY KEY CHECK (id ~ '^[0-9a-z]+$'),
    seed       bytea       NOT NULL CHECK (octet_length(seed) = 32), -- Ed25519
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What is not here has the service's own default. token_ttl: minutes.
CREATE TABLE setting (
    name  text PRIMARY KEY CHECK (name IN ('token_ttl')),
    value text NOT NULL,
    CHECK (name <> 'token_ttl' OR value ~ '^[1-9][0-9]{0,6}$')
);

-- Failed logins, by a hash of the account or of the client's address. A login is counted before its password is looked
-- at, and only what is below the limits is counted, so the table cannot grow faster than passwords are hashed; rows
-- older than the window are removed. It may be lost in a crash.
CREATE UNLOGGED TABLE login_failure (
    key      bytea       PRIMARY KEY CHECK (octet_length(key) = 32),
    failures integer     NOT NULL,
    since    timestamptz NOT NULL
);
CREATE INDEX login_failure_since ON login_failure (since);
