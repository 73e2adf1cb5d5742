package node

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// fits returns the condition under which a node has room for so much RAM and disk.
func fits(ram, disk string) string {
	return `n.ram_allocated + ` + ram + ` <= n.ram_mib * c.overselling
		AND n.storage_allocated + ` + disk + ` <= n.storage_mib AND n.storage_free_mib > ` + disk + ` / 10`
}

// The RAM and the first disk that a host gets on a node of which x says what the OS needs; $5 and $6 are what is asked.
const (
	ramThere  = `coalesce(nullif($5::integer, 0), x.min_ram_mib)`
	bootThere = `coalesce(nullif($6::integer, 0), x.min_disk_mib)`
)

// choose finds a node: $1 cluster, $2 node or 0, $3 OS, $4 CPUs, $5 RAM, $6 first disk, $7 other disks,
// $8 what the node must be able to do.
var choose = `
	SELECT n.id, x.sha256, ` + ramThere + `, ` + bootThere + `
	FROM node n JOIN cluster c ON c.id = n.cluster_id JOIN os_node x ON x.node_id = n.id AND x.os_id = $3
	WHERE n.cluster_id = $1 AND ($2 = 0 OR n.id = $2) AND NOT n.maintenance AND n.seen_at > now() - ` + silence + `
	  AND n.features @> coalesce($8::text[], '{}') AND x.sha256 <> '' AND ` + ramThere + ` >= x.min_ram_mib AND ` + bootThere + ` >= x.min_disk_mib
	  AND $4::integer > 0 AND ` + fits(ramThere, "("+bootThere+" + $7::bigint)") + `
	ORDER BY n.ram_mib - n.ram_allocated DESC, n.id LIMIT 1`

// Choose finds a node with room for a host: the named one, or, with node 0, the one of the cluster with the most free
// RAM that holds the OS, in whatever version. ErrNoCapacity names what is lacking; it is Unavailable where all nodes that might
// take hosts are silent. The room is the host's only after QueueTake.
func Choose(ctx context.Context, db pg.DB, cluster, node, os int32, w Want) (p Place, err error) {
	err = db.QueryRow(ctx, choose, cluster, node, os, w.CPUs, w.RAM, w.Boot, w.More, w.Features).Scan(&p.Node, &p.Template, &p.RAM, &p.Boot)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, noRoom(ctx, db, cluster, node, os, w)
	}
	return p, err
}

// takeRoom changes no row when the room is not free.
var takeRoom = `
	UPDATE node n SET cpu_allocated = n.cpu_allocated + $4, ram_allocated = n.ram_allocated + $5,
		storage_allocated = n.storage_allocated + $6
	FROM cluster c
	WHERE n.id = $2 AND c.id = $1 AND n.cluster_id = c.id AND NOT n.maintenance AND $3::integer > 0
	  AND n.seen_at > now() - ` + silence + ` AND ` + fits("$5::integer", "$6::bigint")

// QueueTake takes room on a node, as the last part of b. done is true after the batch if the node was still in service and
// the room free. Every
// host on the node passes through the row that is locked from here to the commit.
func QueueTake(b *pgx.Batch, cluster, node, os int32, s Size, done *bool) {
	b.Queue(takeRoom, cluster, node, os, s.CPUs, s.RAM, s.Disk).
		Exec(func(tag pgconn.CommandTag) error { *done = tag.RowsAffected() > 0; return nil })
}

// QueueGrow takes more room for a host on its node, as the last part of b. done is true after the batch if the room was free.
// A node with maintenance gives its hosts more all the same.
func QueueGrow(b *pgx.Batch, id int32, more Size, done *bool) {
	b.Queue(`
		UPDATE node n SET cpu_allocated = n.cpu_allocated + $2, ram_allocated = n.ram_allocated + $3,
			storage_allocated = n.storage_allocated + $4
		FROM cluster c
		WHERE n.id = $1 AND c.id = n.cluster_id AND ($3::integer = 0 OR n.ram_allocated + $3::integer <= n.ram_mib * c.overselling)
		  AND ($4::bigint = 0 OR n.storage_allocated + $4::bigint <= n.storage_mib AND n.storage_free_mib > $4::bigint / 10)`,
		id, more.CPUs, more.RAM, more.Disk).
		Exec(func(tag pgconn.CommandTag) error { *done = tag.RowsAffected() > 0; return nil })
}

// lacking counts, among the nodes that were asked for, those without maintenance, those of them that are not silent, and those of
// these that hold the OS, and returns the least that the OS needs there, and the most that is free where it needs no more than what
// is asked.
const lacking = `
	SELECT count(*), count(*) FILTER (WHERE open), count(*) FILTER (WHERE up), count(*) FILTER (WHERE up AND has_os),
	       coalesce(min(min_ram) FILTER (WHERE up AND has_os), 0), coalesce(min(min_boot) FILTER (WHERE up AND has_os), 0),
	       coalesce(max(free_ram) FILTER (WHERE up AND has_os), 0), coalesce(max(free_disk) FILTER (WHERE up AND has_os), 0),
	       coalesce((SELECT min(f) FROM unnest($4::text[]) f
	                 WHERE NOT EXISTS (SELECT FROM node n WHERE n.cluster_id = $1 AND ($2 = 0 OR n.id = $2) AND NOT n.maintenance
	                                   AND n.seen_at > now() - ` + silence + ` AND f = ANY(n.features))), '')
	FROM (SELECT NOT n.maintenance AS open, NOT n.maintenance AND n.seen_at > now() - ` + silence + ` AS up,
	             x.node_id IS NOT NULL AS has_os, x.min_ram_mib AS min_ram, x.min_disk_mib AS min_boot,
	             (n.ram_mib * c.overselling)::integer - n.ram_allocated AS free_ram,
	             least(n.storage_mib - n.storage_allocated, n.storage_free_mib::bigint * 10) AS free_disk
	      FROM node n JOIN cluster c ON c.id = n.cluster_id
	      LEFT JOIN os_node x ON x.node_id = n.id AND x.os_id = $3 AND x.sha256 <> ''
	      WHERE n.cluster_id = $1 AND ($2 = 0 OR n.id = $2)) v`

// noRoom returns the fault that names what is lacking.
func noRoom(ctx context.Context, db pg.DB, cluster, node, os int32, w Want) error {
	var nodes, open, live, withOS, leastRAM, leastBoot, ram, disk int32
	var lacks string
	err := db.QueryRow(ctx, lacking, cluster, node, os, w.Features).
		Scan(&nodes, &open, &live, &withOS, &leastRAM, &leastBoot, &ram, &disk, &lacks)
	switch {
	case err != nil:
		return err
	case nodes == 0 && node != 0:
		return fault.Invalid.With("there is no node %d in cluster %d", node, cluster).On("node")
	case nodes == 0:
		return ErrNoCapacity.With("cluster %d has no node", cluster).On("cluster")
	case open == 0:
		return ErrNoCapacity.With("no node of cluster %d is in service", cluster).On("node")
	case live == 0: // as after a time without a database: the nodes were not heard, and come back
		return fault.Unavailable.With("no node of cluster %d that is in service answers, repeat the request later", cluster)
	case withOS == 0:
		return ErrNoCapacity.With("no node in service holds OS %d", os).On("os")
	case lacks != "":
		return &LacksError{lacks}
	case w.RAM != 0 && w.RAM < leastRAM:
		return fault.Invalid.With("this OS needs at least %d", leastRAM).On("ram_mib")
	case w.Boot != 0 && w.Boot < leastBoot:
		return fault.Invalid.With("this OS needs at least %d", leastBoot).On("hdd_mib")
	case ram < max(w.RAM, leastRAM):
		return ErrNoCapacity.With("%d MiB are wanted, %d MiB are free on the emptiest node", max(w.RAM, leastRAM), max(ram, 0)).On("ram_mib")
	default:
		return ErrNoCapacity.With("%d MiB are wanted, %d MiB are free on the emptiest node",
			int64(max(w.Boot, leastBoot))+w.More, max(disk, 0)).On("hdd_mib")
	}
}

// insert adds a node to the cluster with the smallest id.
func insert(ctx context.Context, tx *unit.Tx, n Description) (id int32, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO node (cluster_id, uuid, name, endpoint, cpu_number, cpu_model, ram_mib, storage_mib, storage_free_mib,
			hypervisor, accel, kernel_version, os_version, qemu_version, libvirt_version, boot_id, bridge, dns, features)
		VALUES ((SELECT min(id) FROM cluster), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		RETURNING id`, n.columns()...).Scan(&id)
	return id, err
}
