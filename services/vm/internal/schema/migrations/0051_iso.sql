-- +goose Up

-- The CD in the drive of a host, from which its guest starts; '' for none.
ALTER TABLE host ADD cd text NOT NULL DEFAULT '';
