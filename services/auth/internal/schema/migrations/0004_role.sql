-- +goose Up

-- The built-in roles are rows too, so that one list shows all. What they may do is in the code of every service.
CREATE TABLE role (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text        NOT NULL CONSTRAINT role_name UNIQUE CHECK (name ~ '^@?[A-Za-z0-9._-]{1,64}$'),
    description text        NOT NULL DEFAULT '',
    scopes      text[]      NOT NULL, -- or patterns of them
    reach_all   boolean     NOT NULL,
    builtin     boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (builtin = (name LIKE '@%')),
    CHECK (builtin OR cardinality(scopes) > 0)
);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON role EXECUTE FUNCTION changed();

INSERT INTO role (name, description, scopes, reach_all, builtin) VALUES
    ('@admin', 'may do everything', '{}', true, true),
    ('@advanced_user', 'has hosts of its own', '{}', false, true),
    ('@user', 'has hosts of its own', '{}', false, true),
    ('@admin.readonly', 'sees everything and changes nothing', '{}', true, true);

-- Grows with every change of what the account's identities say: services refuse those of a lower one.
ALTER TABLE user_account ADD COLUMN revision integer NOT NULL DEFAULT 0;
CREATE INDEX user_account_roles ON user_account USING gin (roles);
