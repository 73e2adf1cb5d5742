-- +goose Up

-- Whether a host of a node was changed lately: a node whose list of machines is as before need not be compared else.
CREATE INDEX host_changed ON host (node_id, changed_at);
CREATE INDEX tombstone_node ON tombstone (node, created_at);
