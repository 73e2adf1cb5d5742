-- +goose Up
CREATE INDEX job_finished ON job (finished_at) WHERE finished_at IS NOT NULL;
