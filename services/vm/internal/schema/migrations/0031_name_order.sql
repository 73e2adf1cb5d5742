-- +goose Up
-- Names are ordered, compared and matched without the case of their letters, in one collation: one index serves all.
CREATE INDEX host_name_fold ON host (lower(name) COLLATE "C", id);
DROP INDEX host_name_pattern;
