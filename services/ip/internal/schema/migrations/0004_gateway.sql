-- +goose Up

-- A gateway may be on the link (fe80::1) or outside the network, as hosters route single addresses.
ALTER TABLE network DROP CONSTRAINT network_check;
