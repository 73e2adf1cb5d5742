-- +goose Up

-- The end of the quarantine that a wish has interrupted: an address that its former account gets back goes on with the
-- quarantine when no machine uses it.
ALTER TABLE address ADD COLUMN rest_until timestamptz;
