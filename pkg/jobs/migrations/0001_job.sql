-- +goose Up
CREATE SEQUENCE job_fence;

CREATE TABLE job (
    id               integer GENERATED ALWAYS AS IDENTITY (START WITH 100001) PRIMARY KEY,
    kind             text        NOT NULL CHECK (kind <> ''),
    key              text        NOT NULL CHECK (key <> ''),
    args             jsonb       NOT NULL,
    state            text        NOT NULL DEFAULT 'queued'
                     CHECK (state IN ('queued', 'running', 'undoing', 'done', 'failed', 'canceled')),
    attempt          integer     NOT NULL DEFAULT 0, -- runs so far, without those that a shutdown cut short
    failures         integer     NOT NULL DEFAULT 0, -- transient errors in this direction (do, then undo)
    panics           integer     NOT NULL DEFAULT 0,
    lost             integer     NOT NULL DEFAULT 0, -- leases that ran out since a step was last finished
    fence            bigint      NOT NULL DEFAULT 0,
    run_at           timestamptz NOT NULL DEFAULT now(),
    lease_until      timestamptz,
    locked_by        text,
    cancel_requested boolean     NOT NULL DEFAULT false,
    code             integer     NOT NULL DEFAULT 0, -- gRPC code of the error
    reason           text        NOT NULL DEFAULT '',
    error            text        NOT NULL DEFAULT '',
    account_id       integer,
    created_by       text        NOT NULL DEFAULT '',
    request_id       text        NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'failed', 'canceled')))
) WITH (fillfactor = 70); -- room for the heartbeat's HOT updates

CREATE INDEX job_due ON job (run_at, id) WHERE state IN ('queued', 'running', 'undoing');
CREATE INDEX job_pending ON job (key, id) WHERE state IN ('queued', 'running', 'undoing');

CREATE TABLE job_step (
    job_id      integer     NOT NULL REFERENCES job ON DELETE CASCADE,
    seq         integer     NOT NULL, -- the order in which steps were first started
    name        text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('started', 'done', 'undone')),
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    error       text        NOT NULL DEFAULT '',
    PRIMARY KEY (job_id, seq),
    UNIQUE (job_id, name)
);
