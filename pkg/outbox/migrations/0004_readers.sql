-- +goose Up
-- Up to which place the relay has removed events from a stream because it was full.
ALTER TABLE outbox_stream ADD trimmed bigint NOT NULL DEFAULT 0;

-- Who reads a stream: nothing is removed that one of them has not read.
CREATE TABLE outbox_reader (
    stream  text        NOT NULL,
    reader  text        NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, reader)
);
