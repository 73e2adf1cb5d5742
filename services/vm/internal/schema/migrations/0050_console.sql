-- +goose Up

-- Tickets that open a console once. The row goes with its use; one that was never used goes when a later one is made.
CREATE TABLE console_ticket (
    hash       bytea PRIMARY KEY,
    host_id    integer     NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    account_id integer     NOT NULL, -- that asked for it
    session_id integer     NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('vnc', 'serial')),
    until      timestamptz NOT NULL
);

CREATE INDEX console_ticket_until ON console_ticket (until);
CREATE INDEX console_ticket_host ON console_ticket (host_id);
