-- +goose Up

-- The number of a password that the guest takes at its next start, once for each number; 0: it has the password already.
ALTER TABLE host ADD password_serial integer NOT NULL DEFAULT 0;

-- The password that a job sets. The row lives as long as the job is under way.
CREATE TABLE password_change (
    job_id        integer PRIMARY KEY,
    host_id       integer NOT NULL REFERENCES host ON DELETE CASCADE,
    password_hash text    NOT NULL
);
CREATE INDEX password_change_host ON password_change (host_id);
