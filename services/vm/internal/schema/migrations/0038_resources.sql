-- +goose Up

-- What waits for the next start of a host (NULL: nothing), and which job tries it before. What is sold of the node and counted for
-- the account is the larger of what the host has and what waits, NULL for what it has.
ALTER TABLE host
    ADD cpu_number_new integer CHECK (cpu_number_new > 0),
    ADD ram_mib_new    integer CHECK (ram_mib_new > 0),
    ADD cpu_sold       integer CHECK (cpu_sold > 0),
    ADD ram_sold       integer CHECK (ram_sold > 0),
    ADD resize_task    integer,
    -- Limits, CPU mode and firewall, as the room machine encodes them; NULL: none.
    ADD limits         jsonb,
    ADD limits_new     jsonb;

-- What the node can give machines or limit.
ALTER TABLE node ADD features text[] NOT NULL DEFAULT '{}';
