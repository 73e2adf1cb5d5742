-- +goose Up

CREATE TABLE cluster (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL UNIQUE CHECK (name <> ''),
    domain_template text NOT NULL,
    dns_servers     text[] NOT NULL DEFAULT '{}',
    overselling     double precision NOT NULL DEFAULT 1 CHECK (overselling >= 1),
    created_at      timestamptz NOT NULL DEFAULT now()
);

-- What is sold of a node is counted here, in the transaction that sells it: the checks refuse a double sale.
CREATE TABLE node (
    id                integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster_id        integer NOT NULL REFERENCES cluster,
    uuid              uuid NOT NULL UNIQUE,
    name              text NOT NULL,
    endpoint          text NOT NULL,
    maintenance       boolean NOT NULL DEFAULT false,
    cpu_number        integer NOT NULL,
    cpu_model         text NOT NULL,
    ram_mib           integer NOT NULL,
    storage_mib       integer NOT NULL,
    storage_free_mib  integer NOT NULL,
    cpu_allocated     integer NOT NULL DEFAULT 0 CHECK (cpu_allocated >= 0),
    ram_allocated     integer NOT NULL DEFAULT 0 CHECK (ram_allocated >= 0),
    storage_allocated integer NOT NULL DEFAULT 0 CHECK (storage_allocated >= 0),
    hypervisor        text NOT NULL,
    accel             text NOT NULL,
    kernel_version    text NOT NULL,
    os_version        text NOT NULL,
    qemu_version      text NOT NULL,
    libvirt_version   text NOT NULL,
    boot_id           text NOT NULL,
    bridge            text NOT NULL,
    dns               text[] NOT NULL DEFAULT '{}',
    seen_at           timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE os (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE CHECK (name <> ''),
    sha256       text NOT NULL DEFAULT '',
    state        text NOT NULL CHECK (state IN ('active', 'importing')),
    os_group     text NOT NULL DEFAULT '',
    min_ram_mib  integer NOT NULL,
    min_disk_mib integer NOT NULL,
    adminonly    boolean NOT NULL DEFAULT false,
    comment      text NOT NULL DEFAULT '',
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CHECK (state <> 'active' OR sha256 <> '')
);

-- Which nodes hold which template.
CREATE TABLE os_node (
    os_id   integer NOT NULL REFERENCES os ON DELETE CASCADE,
    node_id integer NOT NULL REFERENCES node ON DELETE CASCADE,
    PRIMARY KEY (os_id, node_id)
);

-- Copy of what lists need of auth's accounts, fed by auth's events.
CREATE TABLE account (
    id    integer PRIMARY KEY,
    email text NOT NULL,
    roles text[] NOT NULL,
    state text NOT NULL
);

-- Copy of ip's bindings of pools to clusters, fed by ip's events.
CREATE TABLE cluster_pool (
    pool_id    integer NOT NULL,
    cluster_id integer NOT NULL REFERENCES cluster ON DELETE CASCADE,
    PRIMARY KEY (cluster_id, pool_id)
);

CREATE TABLE host (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid          uuid NOT NULL UNIQUE,
    name          text NOT NULL CHECK (name <> ''),
    comment       text NOT NULL DEFAULT '',
    domain        text NOT NULL DEFAULT '',
    hostname      text NOT NULL,
    state         text NOT NULL CHECK (state IN ('creating', 'active', 'stopped', 'starting', 'stopping', 'deleting',
                                                  'crashed', 'paused', 'unknown')),
    wanted        text NOT NULL CHECK (wanted IN ('active', 'stopped', 'absent')),
    account_id    integer NOT NULL,
    cluster_id    integer NOT NULL REFERENCES cluster,
    node_id       integer NOT NULL REFERENCES node,
    os_id         integer NOT NULL REFERENCES os,
    cpu_number    integer NOT NULL CHECK (cpu_number > 0),
    ram_mib       integer NOT NULL CHECK (ram_mib > 0),
    mac           macaddr NOT NULL UNIQUE,
    anti_spoofing boolean NOT NULL DEFAULT false,
    password_hash text NOT NULL DEFAULT '',
    ssh_keys      text[] NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX host_account ON host (account_id, id);
CREATE INDEX host_node ON host (node_id, id);

CREATE TABLE disk (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host_id    integer NOT NULL REFERENCES host ON DELETE CASCADE,
    name       text NOT NULL,
    size_mib   integer NOT NULL CHECK (size_mib > 0),
    boot_order integer NOT NULL,
    template   text NOT NULL DEFAULT '',
    UNIQUE (host_id, name)
);

-- Copy of ip's addresses that hosts hold. ip says who owns an address; this says how the host uses it.
CREATE TABLE host_address (
    host_id    integer NOT NULL REFERENCES host ON DELETE CASCADE,
    position   integer NOT NULL,
    ip_id      integer NOT NULL,
    addr       inet NOT NULL,
    family     integer NOT NULL CHECK (family IN (4, 6)),
    prefix     integer NOT NULL,
    mask       text NOT NULL,
    gateway    text NOT NULL,
    pool_id    integer NOT NULL,
    network_id integer NOT NULL,
    interface  integer NOT NULL,
    PRIMARY KEY (host_id, position)
);
CREATE INDEX host_address_addr ON host_address (addr);
