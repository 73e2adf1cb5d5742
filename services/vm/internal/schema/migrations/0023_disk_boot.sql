-- +goose Up

-- A host has a few disks, which UNIQUE (host_id, name) finds.
DROP INDEX disk_boot;
