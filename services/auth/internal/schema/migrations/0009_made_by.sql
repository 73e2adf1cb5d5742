-- +goose Up

-- The account that made a one-time key, and so the session that the key opened. Both end with the rights of that account. NULL for
-- keys of before, and for sessions that no one-time key opened.
ALTER TABLE login_key ADD COLUMN made_by integer REFERENCES user_account ON DELETE CASCADE;
CREATE INDEX login_key_made_by ON login_key (made_by) WHERE made_by IS NOT NULL;
ALTER TABLE token ADD COLUMN made_by integer REFERENCES user_account ON DELETE CASCADE;
CREATE INDEX token_made_by ON token (made_by) WHERE made_by IS NOT NULL;
