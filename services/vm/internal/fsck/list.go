package fsck

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// Recorded is a host as the consistency check sees it.
type Recorded struct {
	ID        int32
	UUID      uuid.UUID
	NodeID    int32 `db:"node_id"`
	AccountID int32 `db:"account_id"`
	State     string
	Busy      bool     // a job of it is under way, so nothing is certain
	Unsettled bool     // a change of the size has no job, or room is kept for none
	Disks     []string // names
	Addresses []int32  // ids at ip
}

// recorded returns all hosts.
func recorded(ctx context.Context, db *unit.DB) ([]Recorded, error) {
	rows, err := db.Query(ctx, `
		SELECT h.id, h.uuid, h.node_id, h.account_id, h.state,
			h.resize_task IS NOT NULL OR (coalesce(h.cpu_sold, h.cpu_number), coalesce(h.ram_sold, h.ram_mib))
				<> (greatest(h.cpu_number, h.cpu_number_new), greatest(h.ram_mib, h.ram_mib_new)) AS unsettled,
			EXISTS (SELECT FROM job j WHERE j.key = 'host/' || h.id AND j.state IN ('queued', 'running', 'undoing')) AS busy,
			coalesce((SELECT array_agg(d.name ORDER BY d.name) FROM disk d WHERE d.host_id = h.id), '{}')
				|| array_remove(ARRAY[h.rescue_disk, h.cd], '') AS disks,
			coalesce((SELECT array_agg(a.ip_id ORDER BY a.ip_id) FROM host_address a WHERE a.host_id = h.id), '{}') AS addresses
		FROM host h ORDER BY h.id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Recorded])
}

// Loose is a disk that has no host, or that comes from one or goes to one.
type Loose struct {
	ID        int32
	UUID      uuid.UUID // of its place
	NodeID    int32     `db:"node_id"`
	AccountID int32     `db:"account_id"`
	Name      string
	Busy      bool // a job works on it, so nothing is certain
}

// loose returns all disks that may lie in a place of their own.
func loose(ctx context.Context, db *unit.DB) ([]Loose, error) {
	rows, err := db.Query(ctx, `
		SELECT d.id, d.uuid, coalesce(d.node_id, 0) AS node_id, coalesce(d.account_id, 0) AS account_id, d.name, d.task IS NOT NULL AS busy
		FROM disk d WHERE d.host_id IS NULL OR d.task IS NOT NULL ORDER BY d.id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Loose])
}

// Counter is a counter that differs from what it counts.
type Counter struct {
	Object, Name  string
	Says, Counted int64
}

// wrongCounters recounts what is sold of each node and what the hosts of each account use.
func wrongCounters(ctx context.Context, db *unit.DB) ([]Counter, error) {
	rows, err := db.Query(ctx, `
		SELECT 'node ' || n.id AS object, c.name, c.says, c.counted
		FROM node n
		LEFT JOIN (SELECT node_id, sum(coalesce(cpu_sold, cpu_number)) AS cpu, sum(coalesce(ram_sold, ram_mib)) AS ram FROM host GROUP BY node_id) h ON h.node_id = n.id
		LEFT JOIN (SELECT coalesce(o.node_id, d.node_id) AS node_id, sum(d.size_mib) AS disk FROM disk d LEFT JOIN host o ON o.id = d.host_id GROUP BY 1) d
			ON d.node_id = n.id
		CROSS JOIN LATERAL (VALUES
			('cpu_allocated', n.cpu_allocated::bigint, coalesce(h.cpu, 0)::bigint),
			('ram_allocated', n.ram_allocated, coalesce(h.ram, 0)),
			('storage_allocated', n.storage_allocated, coalesce(d.disk, 0))) AS c(name, says, counted)
		WHERE c.says <> c.counted
		UNION ALL
		SELECT 'account ' || u.account_id, c.name, c.says, c.counted
		FROM account_usage u
		LEFT JOIN (SELECT account_id, count(*) AS hosts, sum(coalesce(cpu_sold, cpu_number)) AS cpu,
				sum(coalesce(ram_sold, ram_mib)) AS ram FROM host GROUP BY account_id) h
			ON h.account_id = u.account_id
		LEFT JOIN (SELECT coalesce(o.account_id, d.account_id) AS account_id, sum(d.size_mib) AS disk
				FROM disk d LEFT JOIN host o ON o.id = d.host_id GROUP BY 1) d
			ON d.account_id = u.account_id
		LEFT JOIN (SELECT o.account_id, count(*) AS n FROM host_address x JOIN host o ON o.id = x.host_id WHERE x.family = 4 GROUP BY o.account_id) a
			ON a.account_id = u.account_id
		CROSS JOIN LATERAL (VALUES
			('host_count', u.host_count, coalesce(h.hosts, 0)::bigint),
			('cpu_number', u.cpu_number, coalesce(h.cpu, 0)),
			('ram_mib', u.ram_mib, coalesce(h.ram, 0)),
			('hdd_mib', u.hdd_mib, coalesce(d.disk, 0)),
			('ipv4_number', u.ipv4_number, coalesce(a.n, 0))) AS c(name, says, counted)
		WHERE c.says <> c.counted
		UNION ALL
		SELECT 'cluster ' || cluster_id, 'hosts that are ' || state, coalesce(c.n, 0)::bigint, coalesce(h.n, 0)
		FROM (SELECT cluster_id, state, sum(n) AS n FROM host_count GROUP BY 1, 2) c
		FULL JOIN (SELECT cluster_id, state, count(*) AS n FROM host GROUP BY 1, 2) h USING (cluster_id, state)
		WHERE coalesce(c.n, 0) <> coalesce(h.n, 0)
		UNION ALL
		SELECT 'account ' || account_id, 'hosts in cluster ' || cluster_id || ' that are ' || state, coalesce(c.n, 0)::bigint, coalesce(h.n, 0)
		FROM (SELECT account_id, cluster_id, state, sum(n) AS n FROM host_count_of GROUP BY 1, 2, 3) c
		FULL JOIN (SELECT account_id, cluster_id, state, count(*) AS n FROM host GROUP BY 1, 2, 3) h USING (account_id, cluster_id, state)
		WHERE coalesce(c.n, 0) <> coalesce(h.n, 0)
		ORDER BY 1, 2`)
	if err != nil {
		return nil, fmt.Errorf("recount: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Counter])
}
