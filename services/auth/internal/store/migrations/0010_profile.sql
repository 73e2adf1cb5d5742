-- +goose Up

-- What people say of themselves, and administrators of them.
ALTER TABLE user_account
    ADD COLUMN full_name    text NOT NULL DEFAULT '',
    ADD COLUMN lang         text NOT NULL DEFAULT '',
    ADD COLUMN phone_number text NOT NULL DEFAULT '',
    ADD COLUMN note         text NOT NULL DEFAULT '';
