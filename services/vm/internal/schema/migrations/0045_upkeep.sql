-- +goose Up

-- A protected host is neither deleted nor reinstalled. One without autostart stays off after its node was rebooted.
ALTER TABLE host
    ADD is_protected boolean NOT NULL DEFAULT false,
    ADD autostart    boolean NOT NULL DEFAULT true,
    ADD tags         text[]  NOT NULL DEFAULT '{}';
CREATE INDEX host_tags ON host USING gin (tags) WHERE tags <> '{}';

-- The tags that hosts may have. A tag that a host has is not deleted.
CREATE TABLE tag (
    id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> ''),
    note text NOT NULL DEFAULT ''
);
