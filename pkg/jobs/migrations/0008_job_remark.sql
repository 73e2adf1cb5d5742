-- +goose Up
-- What a job that is done says of its end, for people.
ALTER TABLE job ADD remark text NOT NULL DEFAULT '';
