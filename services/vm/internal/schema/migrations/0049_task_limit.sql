-- +goose Up

-- How long a task of a kind may run before it fails; a kind without a row runs as long as its steps allow.
CREATE TABLE task_limit (
    kind    text    PRIMARY KEY,
    seconds integer NOT NULL CHECK (seconds > 0)
);
