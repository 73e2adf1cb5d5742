-- +goose Up
-- Where the stream has an event: a stream that lost its end, or came back older, has another one there, or none.
ALTER TABLE outbox ADD seq bigint;
CREATE INDEX outbox_seq ON outbox (seq) WHERE seq IS NOT NULL;

-- Which event is at a consumer's position. It is null for a message that is no event, and in rows of earlier versions.
ALTER TABLE inbox_position ADD event_id uuid;
