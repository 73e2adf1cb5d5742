-- +goose Up

-- What a credential is limited to, in these columns of token. An API key is a row whose description is its name.
ALTER TABLE token
    ADD COLUMN scopes text[], -- what it is for; NULL: whatever its account may do
    ADD COLUMN cidrs  cidr[] NOT NULL DEFAULT '{}', -- where it may be used from; none: anywhere
    ADD COLUMN hint   text   NOT NULL DEFAULT '', -- how the value of an API key begins
    ADD COLUMN maker  integer REFERENCES token ON DELETE CASCADE; -- the API key that made it, and limits it
CREATE INDEX token_maker ON token (maker) WHERE maker IS NOT NULL;

ALTER TABLE login_key
    ADD COLUMN maker integer REFERENCES token ON DELETE CASCADE;
CREATE INDEX login_key_maker ON login_key (maker) WHERE maker IS NOT NULL;
