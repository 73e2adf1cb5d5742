package node

import (
	"context"
	"errors"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// fits is the condition under which a node has room: parameters $4 CPUs, $5 RAM and $6 disk.
const fits = `n.ram_allocated + $5 <= n.ram_mib * c.overselling
	AND n.storage_allocated + $6 <= n.storage_mib AND n.storage_free_mib > $6 / 10`

// Choose finds a node with room for a host: the named one, or, with node 0, the one of the cluster with the most free
// RAM that holds the OS. ErrNoCapacity names what is lacking. The room is the host's only after QueueTake.
func Choose(ctx context.Context, db pg.DB, cluster, node, os int32, size Size) (int32, error) {
	if size.Disk > math.MaxInt32 {
		return 0, noRoom(ctx, db, cluster, node, os, size)
	}
	var id int32
	err := db.QueryRow(ctx, `
		SELECT n.id FROM node n JOIN cluster c ON c.id = n.cluster_id
		WHERE n.cluster_id = $1 AND ($2 = 0 OR n.id = $2) AND NOT n.maintenance AND n.seen_at > now() - `+silence+`
		  AND EXISTS (SELECT FROM os_node x WHERE x.node_id = n.id AND x.os_id = $3) AND $4::int > 0 AND `+fits+`
		ORDER BY n.ram_mib - n.ram_allocated DESC, n.id LIMIT 1`,
		cluster, node, os, size.CPUs, size.RAM, size.Disk).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, noRoom(ctx, db, cluster, node, os, size)
	}
	return id, err
}

// takeRoom changes no row when the room is not free.
const takeRoom = `
	UPDATE node n SET cpu_allocated = n.cpu_allocated + $4, ram_allocated = n.ram_allocated + $5,
		storage_allocated = n.storage_allocated + $6
	FROM cluster c
	WHERE n.id = $2 AND c.id = $1 AND n.cluster_id = c.id AND NOT n.maintenance AND $3::int > 0 AND ` + fits

// QueueTake takes room on a node, as the last part of b. done is true after the batch if the room was still free. Every
// host on the node passes through the row that is locked from here to the commit.
func QueueTake(b *pgx.Batch, cluster, node, os int32, s Size, done *bool) {
	b.Queue(takeRoom, cluster, node, os, s.CPUs, s.RAM, s.Disk).
		Exec(func(tag pgconn.CommandTag) error { *done = tag.RowsAffected() > 0; return nil })
}

// noRoom returns the fault that names what is lacking.
func noRoom(ctx context.Context, db pg.DB, cluster, node, os int32, size Size) error {
	var nodes, live, withOS, ram, disk int32
	err := db.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE up), count(*) FILTER (WHERE up AND has_os),
		       coalesce(max(free_ram) FILTER (WHERE up AND has_os), 0), coalesce(max(free_disk) FILTER (WHERE up AND has_os), 0)
		FROM (SELECT NOT n.maintenance AND n.seen_at > now() - `+silence+` AS up,
		             EXISTS (SELECT FROM os_node x WHERE x.node_id = n.id AND x.os_id = $3) AS has_os,
		             (n.ram_mib * c.overselling)::int - n.ram_allocated AS free_ram,
		             least(n.storage_mib - n.storage_allocated, n.storage_free_mib::bigint * 10) AS free_disk
		      FROM node n JOIN cluster c ON c.id = n.cluster_id WHERE n.cluster_id = $1 AND ($2 = 0 OR n.id = $2)) v`,
		cluster, node, os).Scan(&nodes, &live, &withOS, &ram, &disk)
	switch {
	case err != nil:
		return err
	case nodes == 0 && node != 0:
		return fault.Invalid.With("there is no node %d in cluster %d", node, cluster).On("node")
	case nodes == 0:
		return ErrNoCapacity.With("cluster %d has no node", cluster).On("cluster")
	case live == 0:
		return ErrNoCapacity.With("no node of cluster %d is in service", cluster).On("node")
	case withOS == 0:
		return ErrNoCapacity.With("no node in service holds OS %d", os).On("os")
	case ram < size.RAM:
		return ErrNoCapacity.With("%d MiB are wanted, %d MiB are free on the emptiest node", size.RAM, max(ram, 0)).On("ram_mib")
	default:
		return ErrNoCapacity.With("%d MiB are wanted, %d MiB are free on the emptiest node", size.Disk, max(disk, 0)).On("hdd_mib")
	}
}

// insert adds a node to the cluster with the smallest id.
func insert(ctx context.Context, tx *unit.Tx, n Description) (id int32, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO node (cluster_id, uuid, name, endpoint, cpu_number, cpu_model, ram_mib, storage_mib, storage_free_mib,
			hypervisor, accel, kernel_version, os_version, qemu_version, libvirt_version, boot_id, bridge, dns)
		VALUES ((SELECT min(id) FROM cluster), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		RETURNING id`, n.columns()...).Scan(&id)
	return id, err
}
