-- +goose Up

-- An account that was deleted keeps its row here, for ever: a create that is under way for the account finds out by it, and it
-- says which account has its hosts now.
ALTER TABLE account_usage
    ADD COLUMN left_at timestamptz,
    ADD COLUMN heir    integer,
    ADD CHECK (heir IS NULL OR left_at IS NOT NULL);
