-- +goose Up

-- What the hosts of an account use, counted in the transaction that makes or removes a host, and what they may use; null is
-- no limit. A limit may be below what is used: then nothing is added.
CREATE TABLE account_usage (
    account_id  integer PRIMARY KEY,
    host_count  bigint NOT NULL DEFAULT 0 CHECK (host_count >= 0),
    cpu_number  bigint NOT NULL DEFAULT 0 CHECK (cpu_number >= 0),
    ram_mib     bigint NOT NULL DEFAULT 0 CHECK (ram_mib >= 0),
    hdd_mib     bigint NOT NULL DEFAULT 0 CHECK (hdd_mib >= 0),
    ipv4_number bigint NOT NULL DEFAULT 0 CHECK (ipv4_number >= 0),
    max_host_count  integer CHECK (max_host_count >= 0),
    max_cpu_number  integer CHECK (max_cpu_number >= 0),
    max_ram_mib     integer CHECK (max_ram_mib >= 0),
    max_hdd_mib     integer CHECK (max_hdd_mib >= 0),
    max_ipv4_number integer CHECK (max_ipv4_number >= 0)
) WITH (fillfactor = 70);

INSERT INTO account_usage (account_id, host_count, cpu_number, ram_mib, hdd_mib, ipv4_number)
SELECT h.account_id, count(*), sum(h.cpu_number), sum(h.ram_mib),
       coalesce(sum((SELECT sum(d.size_mib) FROM disk d WHERE d.host_id = h.id)), 0),
       coalesce(sum((SELECT count(*) FROM host_address a WHERE a.host_id = h.id AND a.family = 4)), 0)
FROM host h GROUP BY h.account_id;
