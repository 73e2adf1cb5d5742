-- +goose Up

-- Which addresses a host has and in which order is written by vm alone, with the job that makes it so: 'adding' until the
-- node has the address, 'removing' until it has not. What an address is (gateway, name servers, domain) is ip's and follows
-- by its events.
ALTER TABLE host_address
    ADD COLUMN state      text    NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'adding', 'removing')),
    ADD COLUMN job_id     integer, -- the job that adds or removes it
    ADD COLUMN generation integer NOT NULL DEFAULT 0, -- 0: from before vm knew it
    ADD COLUMN dns        text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN domain     text    NOT NULL DEFAULT '',
    ADD COLUMN ptr_serial integer NOT NULL DEFAULT 0,
    ADD CHECK ((state = 'active') = (job_id IS NULL));
CREATE INDEX host_address_ip ON host_address (ip_id);
CREATE INDEX host_address_network ON host_address (network_id);
