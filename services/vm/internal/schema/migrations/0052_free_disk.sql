-- +goose Up

-- A disk belongs to a host, or has no host: then an account has it, on a node, where it lies in a place of its own that uuid names.
-- The place is named when the disk is first without a host. While task adds, removes, attaches or detaches the disk, no other does.
ALTER TABLE disk
    ALTER host_id DROP NOT NULL,
    ADD uuid       uuid,
    ADD account_id integer,
    ADD node_id    integer REFERENCES node,
    ADD task       integer,
    ADD CHECK ((host_id IS NULL) = (account_id IS NOT NULL)),
    ADD CHECK ((host_id IS NULL) = (node_id IS NOT NULL)),
    ADD CHECK (host_id IS NOT NULL OR uuid IS NOT NULL);
CREATE UNIQUE INDEX disk_place ON disk (uuid) WHERE uuid IS NOT NULL;
CREATE INDEX disk_free ON disk (account_id, id) WHERE host_id IS NULL;
CREATE INDEX disk_task ON disk (task) WHERE task IS NOT NULL;
