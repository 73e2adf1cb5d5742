package store

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/grpc/codes"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/vm/internal/domain"
)

// silence is how long an agent may be quiet before its node counts as unavailable.
const silence = `interval '35 seconds'`

// Refusals of a sign of life.
var (
	ErrOtherInstallation = fault.New(codes.FailedPrecondition, "OTHER_INSTALLATION", "the node belongs to another installation")
	ErrNodeTwice         = fault.New(codes.FailedPrecondition, "NODE_TWICE",
		"another machine with the same node id is in service; give this one an id of its own")
)

// NodeKey orders the events of a node.
func NodeKey(id int32) string { return "node/" + strconv.Itoa(int(id)) }

// ErrNoCapacity says that no node can take the host.
var ErrNoCapacity = fault.New(codes.ResourceExhausted, "NO_CAPACITY", "no node has room for the host")

// Node is what an agent says of its node.
type Node struct {
	StackID                                   string // "" from an agent that does not tell
	UUID                                      uuid.UUID
	Name, Endpoint                            string
	CPUs, RAM, StorageMiB, StorageFreeMiB     int32
	CPUModel, Hypervisor, Accel               string
	Kernel, OS, QEMU, Libvirt, BootID, Bridge string
	DNS                                       []string
}

// RegisterNode stores a sign of life. The first one of a node puts it into the cluster with the smallest id. rebooted
// says that the machine was started anew since the last sign.
func (t Tx) RegisterNode(ctx context.Context, n Node) (id int32, rebooted bool, err error) {
	// An upsert would take a new id with every sign of life, and the first two at once would race for the first.
	if _, err := t.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' node ' || $1, 0))`, n.UUID.String()); err != nil {
		return 0, false, err
	}
	if err := t.checkInstallation(ctx, n.StackID); err != nil {
		return 0, false, err
	}
	var boot, endpoint string
	var alive bool
	err = t.QueryRow(ctx, `
		SELECT id, boot_id, endpoint, seen_at > now() - `+silence+` FROM node WHERE uuid = $1 FOR NO KEY UPDATE`, n.UUID).
		Scan(&id, &boot, &endpoint, &alive)
	if errors.Is(err, pgx.ErrNoRows) {
		id, err = t.insertNode(ctx, n)
		return id, false, err
	}
	if err != nil {
		return 0, false, err
	}
	// Copies of one disk have one id. The one that is in service stays, until it is silent.
	if alive && boot != n.BootID && endpoint != n.Endpoint {
		return 0, false, ErrNodeTwice
	}
	_, err = t.Exec(ctx, `
		UPDATE node SET name = $2, endpoint = $3, cpu_number = $4, cpu_model = $5, ram_mib = $6, storage_mib = $7,
			storage_free_mib = $8, hypervisor = $9, accel = $10, kernel_version = $11, os_version = $12, qemu_version = $13,
			libvirt_version = $14, boot_id = $15, bridge = $16, dns = $17, seen_at = now()
		WHERE uuid = $1`, n.columns()...)
	return id, boot != n.BootID, err
}

// checkInstallation compares whose node it is with whose database this is; the first node says the latter.
func (t Tx) checkInstallation(ctx context.Context, stack string) error {
	if stack == "" {
		return nil
	}
	var id string
	err := t.QueryRow(ctx, `SELECT id FROM installation`).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = t.QueryRow(ctx, `
			INSERT INTO installation AS i (id) VALUES ($1) ON CONFLICT (one) DO UPDATE SET id = i.id RETURNING id`, stack).Scan(&id)
	}
	if err == nil && id != stack {
		return ErrOtherInstallation
	}
	return err
}

func (t Tx) insertNode(ctx context.Context, n Node) (id int32, err error) {
	err = t.QueryRow(ctx, `
		INSERT INTO node (cluster_id, uuid, name, endpoint, cpu_number, cpu_model, ram_mib, storage_mib, storage_free_mib,
			hypervisor, accel, kernel_version, os_version, qemu_version, libvirt_version, boot_id, bridge, dns)
		VALUES ((SELECT min(id) FROM cluster), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		RETURNING id`, n.columns()...).Scan(&id)
	return id, err
}

// columns are the values of a node's row, in the order that both statements have.
func (n Node) columns() []any {
	return []any{
		n.UUID, n.Name, n.Endpoint, n.CPUs, n.CPUModel, n.RAM, n.StorageMiB, n.StorageFreeMiB, n.Hypervisor, n.Accel,
		n.Kernel, n.OS, n.QEMU, n.Libvirt, n.BootID, n.Bridge, append([]string{}, n.DNS...),
	}
}

// WantedHosts returns the hosts of a node that shall run.
func (t Tx) WantedHosts(ctx context.Context, nodeID int32) ([]int32, error) {
	rows, err := t.Query(ctx, `
		SELECT id FROM host WHERE node_id = $1 AND wanted = 'active' AND state NOT IN ('creating', 'deleting') ORDER BY id`, nodeID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}

// Size is what a host takes of a node.
type Size struct {
	CPUs, RAM int32
	Disk      int64
}

// fits is the condition under which a node has room: parameters $4 CPUs, $5 RAM and $6 disk.
const fits = `n.ram_allocated + $5 <= n.ram_mib * c.overselling
	AND n.storage_allocated + $6 <= n.storage_mib AND n.storage_free_mib > $6 / 10`

// ErrTaken says that others took or gave back room meanwhile: choose again.
var ErrTaken = errors.New("others took the room meanwhile")

// Choose finds a node with room for a host: the named one, or, with node 0, the one of the cluster with the most free RAM
// that holds the OS. ErrNoCapacity says what is lacking. The room is the host's only after Take.
func (t Tx) Choose(ctx context.Context, cluster, node, os int32, size Size) (int32, error) {
	if size.Disk > math.MaxInt32 {
		return 0, t.noRoom(ctx, cluster, node, os, size)
	}
	var id int32
	err := t.QueryRow(ctx, `
		SELECT n.id FROM node n JOIN cluster c ON c.id = n.cluster_id
		WHERE n.cluster_id = $1 AND ($2 = 0 OR n.id = $2) AND NOT n.maintenance AND n.seen_at > now() - `+silence+`
		  AND EXISTS (SELECT FROM os_node x WHERE x.node_id = n.id AND x.os_id = $3) AND $4::int > 0 AND `+fits+`
		ORDER BY n.ram_mib - n.ram_allocated DESC, n.id LIMIT 1`,
		cluster, node, os, size.CPUs, size.RAM, size.Disk).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, t.noRoom(ctx, cluster, node, os, size)
	}
	return id, err
}

const takeRoom = `
	UPDATE node n SET cpu_allocated = n.cpu_allocated + $4, ram_allocated = n.ram_allocated + $5,
		storage_allocated = n.storage_allocated + $6
	FROM cluster c
	WHERE n.id = $2 AND c.id = $1 AND n.cluster_id = c.id AND NOT n.maintenance AND $3::int > 0 AND ` + fits

// Take charges the host's account and takes its room on the node. It fails with the limit that is in the way, or with
// ErrTaken. It is the last statement of its unit of work: every host of the account and every host on the node passes
// through the rows that are locked from here to the commit.
func (t Tx) Take(ctx context.Context, h *domain.Host, add domain.Usage, size Size) error {
	var charged, taken bool
	err := t.Last(ctx, func(b *pgx.Batch) {
		b.Queue(charge, h.AccountID, add[0], add[1], add[2], add[3], add[4]).
			Exec(func(tag pgconn.CommandTag) error { charged = tag.RowsAffected() > 0; return nil })
		b.Queue(takeRoom, h.ClusterID, h.NodeID, h.OSID, size.CPUs, size.RAM, size.Disk).
			Exec(func(tag pgconn.CommandTag) error { taken = tag.RowsAffected() > 0; return nil })
	})
	if err != nil {
		return err
	}
	if !charged {
		if err := t.refuse(ctx, h.AccountID, add); err != nil {
			return err
		}
		return ErrTaken // a host went meanwhile: there is room now
	}
	if !taken {
		return ErrTaken
	}
	return nil
}

// noRoom finds out what is lacking, for the message.
func (t Tx) noRoom(ctx context.Context, cluster, node, os int32, size Size) error {
	var nodes, live, withOS, ram, disk int32
	err := t.QueryRow(ctx, `
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

// Agent is a node's agent.
type Agent struct {
	ID       int32
	Endpoint string
	Alive    bool
}

// Agents returns the agents of all nodes.
func (s *Store) Agents(ctx context.Context) ([]Agent, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, endpoint, seen_at > now() - `+silence+` AS alive FROM node ORDER BY id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Agent])
}

// NodeItem is a node as lists show it.
type NodeItem struct {
	ID               int32
	UUID             uuid.UUID
	Name             string
	Endpoint         string
	ClusterID        int32  `db:"cluster_id"`
	Cluster          string `db:"cluster_name"`
	Alive            bool
	Maintenance      bool
	CPUs             int32  `db:"cpu_number"`
	CPUModel         string `db:"cpu_model"`
	CPUAllocated     int32  `db:"cpu_allocated"`
	RAM              int32  `db:"ram_mib"`
	RAMAllocated     int32  `db:"ram_allocated"`
	Storage          int32  `db:"storage_mib"`
	StorageFree      int32  `db:"storage_free_mib"`
	StorageAllocated int32  `db:"storage_allocated"`
	Accel            string
	Kernel           string    `db:"kernel_version"`
	OS               string    `db:"os_version"`
	QEMU             string    `db:"qemu_version"`
	Libvirt          string    `db:"libvirt_version"`
	SeenAt           time.Time `db:"seen_at"`
	Hosts            int32
	Active           int32
	Stopped          int32
	Crashed          int32
	LeastRAM         int32 `db:"least_ram"`
	BreakerOpen      bool  `db:"breaker_open"`
}

var nodeList = query.List{
	From: "node n",
	Joins: []query.Join{
		{Alias: "c", SQL: "JOIN cluster c ON c.id = n.cluster_id"},
		{Alias: "v", SQL: `CROSS JOIN LATERAL (
			SELECT count(*)::int AS hosts, (count(*) FILTER (WHERE state = 'active'))::int AS active,
			       (count(*) FILTER (WHERE state = 'stopped'))::int AS stopped, (count(*) FILTER (WHERE state = 'crashed'))::int AS crashed
			FROM host h WHERE h.node_id = n.id) v`},
	},
	Columns: `n.id, n.uuid, n.name, n.endpoint, n.cluster_id, c.name AS cluster_name,
		n.seen_at > now() - ` + silence + ` AS alive, n.maintenance, n.cpu_number, n.cpu_model, n.cpu_allocated, n.ram_mib,
		n.ram_allocated, n.storage_mib, n.storage_free_mib, n.storage_allocated, n.accel, n.kernel_version, n.os_version,
		n.qemu_version, n.libvirt_version, n.seen_at, v.hosts, v.active, v.stopped, v.crashed,
		coalesce((SELECT min(min_ram_mib) FROM os), 0) AS least_ram, n.breaker_opened_at IS NOT NULL AS breaker_open`,
	LastNotify: now,
	Fields: map[string]query.Field{
		"id":               {SQL: "n.id", Type: query.Int},
		"name":             {SQL: "n.name", Type: query.Text},
		"cluster":          {SQL: "n.cluster_id", Type: query.Int},
		"cluster.id":       {SQL: "n.cluster_id", Type: query.Int},
		"cluster.name":     {SQL: "c.name", Type: query.Text, Needs: "c"},
		"maintenance_mode": {SQL: "n.maintenance", Type: query.Bool},
		"internal_name":    {SQL: "n.uuid::text", Type: query.Text},
		"accel":            {SQL: "n.accel", Type: query.Text},
		"state":            {SQL: "CASE WHEN n.seen_at > now() - " + silence + " THEN 'active' ELSE 'unavailable' END", Type: query.Text},
	},
}

// Nodes returns a page of the nodes.
func (s *Store) Nodes(ctx context.Context, q *querypb.Query) (query.Rows[NodeItem], error) {
	return query.Read[NodeItem](ctx, s.lists, nodeList, q, query.Scope{})
}

// Node returns one node.
func (s *Store) Node(ctx context.Context, id int32) (NodeItem, error) {
	rows, err := s.pool.Query(ctx, nodeList.Row(`n.id = $1`), id)
	return pg.One[NodeItem](rows, err, pg.Missing("node", id))
}
