-- +goose Up

-- What the name servers made of the name of an address, as ip says it.
ALTER TABLE host_address
    ADD COLUMN ptr_state text NOT NULL DEFAULT '',
    ADD COLUMN ptr_error text NOT NULL DEFAULT '';
