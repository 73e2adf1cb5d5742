-- +goose Up

-- Accounts that were deleted, and which account has their pools since.
CREATE TABLE account_left (
    account_id integer PRIMARY KEY,
    heir       integer NOT NULL
);
CREATE INDEX pool_account ON pool (account_id) WHERE account_id IS NOT NULL;
