-- +goose Up

-- The disk of the rescue system that a host is in, before its own disks; '' for none. It counts for no limit.
ALTER TABLE host
    ADD rescue_disk     text    NOT NULL DEFAULT '',
    ADD rescue_template text    NOT NULL DEFAULT '',
    ADD rescue_mib      integer NOT NULL DEFAULT 0;
