-- +goose Up
CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id    uuid        NOT NULL UNIQUE,
    subject     text        NOT NULL,
    key         text        NOT NULL,
    type        text        NOT NULL,
    data        bytea       NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    sent_at     timestamptz
);
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;

-- Streams as the relay last saw them: one that was made anew has lost what was sent to it.
CREATE TABLE outbox_stream (
    name       text        PRIMARY KEY,
    created_at timestamptz NOT NULL
);

CREATE TABLE inbox (
    consumer text        NOT NULL,
    event_id uuid        NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_seen ON inbox (seen_at);

-- How far a consumer has read a stream. It moves with the effects, so it is never ahead of them.
CREATE TABLE inbox_position (
    consumer       text        PRIMARY KEY,
    stream_created timestamptz NOT NULL,
    seq            bigint      NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE inbox_parked (
    consumer    text        NOT NULL,
    event_id    uuid        NOT NULL,
    subject     text        NOT NULL,
    key         text        NOT NULL,
    type        text        NOT NULL,
    data        bytea       NOT NULL,
    occurred_at timestamptz NOT NULL,
    error       text        NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
