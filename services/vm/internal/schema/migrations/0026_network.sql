-- +goose Up

-- What ip says of its networks. The addresses of a host keep what its guest has been started with, and get this at its
-- next start.
CREATE TABLE network (
    id      integer PRIMARY KEY, -- ip's
    gateway text    NOT NULL,
    dns     text[]  NOT NULL
);
