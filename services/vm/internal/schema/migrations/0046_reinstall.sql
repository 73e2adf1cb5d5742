-- +goose Up

-- What the job of a reinstallation makes of a host. The row lives as long as the job is under way.
CREATE TABLE reinstall (
    job_id        integer PRIMARY KEY,
    host_id       integer NOT NULL REFERENCES host ON DELETE CASCADE,
    disk_id       integer NOT NULL,
    disk_name     text    NOT NULL, -- of the new file
    os_id         integer NOT NULL REFERENCES os,
    template      text    NOT NULL,
    password_hash text    NOT NULL
);
CREATE INDEX reinstall_host ON reinstall (host_id);
