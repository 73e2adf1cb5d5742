-- +goose Up

-- Each node holds its own version of an OS, and a host begins as that of its node. What os says beside it is the first
-- description of the OS: it is shown while no node holds the OS, and the version before reads it.
ALTER TABLE os_node
    ADD sha256       text        NOT NULL DEFAULT '', -- '' from the version before: unknown until the node's next sign of life
    ADD os_group     text        NOT NULL DEFAULT '',
    ADD min_ram_mib  integer     NOT NULL DEFAULT 0,
    ADD min_disk_mib integer     NOT NULL DEFAULT 0,
    ADD since        timestamptz NOT NULL DEFAULT now();
UPDATE os_node x
SET sha256 = o.sha256, os_group = o.os_group, min_ram_mib = o.min_ram_mib, min_disk_mib = o.min_disk_mib, since = o.updated_at
FROM os o WHERE o.id = x.os_id;
CREATE INDEX os_node_node ON os_node (node_id);

-- A digest of the list of templates that os_node has of the node; '' asks the node for its list.
ALTER TABLE node ADD templates text NOT NULL DEFAULT '';
