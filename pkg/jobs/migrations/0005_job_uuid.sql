-- +goose Up
-- A name of the job that is unique over all services, whose ids overlap. The default is evaluated for each old row.
ALTER TABLE job ADD COLUMN uuid uuid NOT NULL DEFAULT gen_random_uuid();
CREATE UNIQUE INDEX job_uuid ON job (uuid);
