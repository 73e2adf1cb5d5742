-- +goose Up

-- Why the name servers do not have a name yet, as the API says it, and how often that was tried since the name was set.
ALTER TABLE ptr
    ADD COLUMN failures integer NOT NULL DEFAULT 0,
    ADD COLUMN error    text    NOT NULL DEFAULT '';
