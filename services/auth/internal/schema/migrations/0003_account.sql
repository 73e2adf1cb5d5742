-- +goose Up

-- A second factor. Without confirmed_at it was offered to an app and counts for nothing yet. secret is sealed. A code counts once:
-- only those of steps after last_step do, where a step is half a minute since 1970.
CREATE TABLE totp (
    account_id   integer PRIMARY KEY REFERENCES user_account ON DELETE CASCADE,
    secret       bytea       NOT NULL,
    confirmed_at timestamptz,
    last_step    bigint      NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER changed AFTER UPDATE OF confirmed_at OR DELETE ON totp EXECUTE FUNCTION changed();

-- Each is good once, and gone then.
CREATE TABLE recovery_code (
    account_id integer NOT NULL REFERENCES totp ON DELETE CASCADE,
    hash       bytea   NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (account_id, hash)
);

-- What people say of themselves, and administrators of them.
ALTER TABLE user_account
    ADD COLUMN full_name    text NOT NULL DEFAULT '',
    ADD COLUMN lang         text NOT NULL DEFAULT '',
    ADD COLUMN phone_number text NOT NULL DEFAULT '',
    ADD COLUMN note         text NOT NULL DEFAULT '';

-- All settings are whole numbers; which there are and how far they go is the service's to say. What was never set has the
-- service's own default.
ALTER TABLE setting
    DROP CONSTRAINT setting_name_check,
    DROP CONSTRAINT setting_check,
    ADD CONSTRAINT setting_name_check CHECK (name ~ '^[a-z][a-z_]*$'),
    ADD CONSTRAINT setting_value_check CHECK (value ~ '^(0|[1-9][0-9]{0,6})$');
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON setting EXECUTE FUNCTION changed();
