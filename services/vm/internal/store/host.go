package store

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/domain"
)

// HostKey is the key of a host's jobs: they run in order.
func HostKey(id int32) string { return "host/" + strconv.Itoa(int(id)) }

const hostColumns = `id, uuid, name, comment, domain, hostname, state, wanted, account_id, cluster_id, node_id, os_id,
	cpu_number, ram_mib, mac, anti_spoofing, password_hash, ssh_keys, created_at`

type hostRow struct {
	ID           int32
	UUID         uuid.UUID
	Name         string
	Comment      string
	Domain       string
	Hostname     string
	State        domain.State
	Wanted       string
	AccountID    int32 `db:"account_id"`
	ClusterID    int32 `db:"cluster_id"`
	NodeID       int32 `db:"node_id"`
	OSID         int32 `db:"os_id"`
	CPUs         int32 `db:"cpu_number"`
	RAM          int32 `db:"ram_mib"`
	MAC          net.HardwareAddr
	AntiSpoofing bool      `db:"anti_spoofing"`
	PasswordHash string    `db:"password_hash"`
	SSHKeys      []string  `db:"ssh_keys"`
	CreatedAt    time.Time `db:"created_at"`
}

// Host loads and locks a host for this unit of work. Somebody who owns it not gets the same fault as for none; owner 0
// sees all.
func (t Tx) Host(ctx context.Context, id, owner int32) (*domain.Host, error) {
	rows, err := t.Query(ctx, `
		SELECT `+hostColumns+` FROM host
		WHERE id = $1 AND ($2 = 0 OR account_id = $2) FOR UPDATE`, id, owner)
	r, err := pg.One[hostRow](rows, err, pg.Missing("host", id))
	h := domain.Host(r)
	return &h, err
}

// InsertHost stores a new host and gives it its id; disks and addresses follow at the end of the unit of work.
func (t Tx) InsertHost(ctx context.Context, h *domain.Host, disks []domain.Disk, addrs []domain.Address) error {
	err := t.QueryRow(ctx, `
		INSERT INTO host (uuid, name, comment, domain, hostname, state, wanted, account_id, cluster_id, node_id, os_id,
			cpu_number, ram_mib, mac, anti_spoofing, password_hash, ssh_keys)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		RETURNING id, created_at`,
		h.UUID, h.Name, h.Comment, h.Domain, h.Hostname, h.State, h.Wanted, h.AccountID, h.ClusterID, h.NodeID, h.OSID,
		h.CPUs, h.RAM, h.MAC, h.AntiSpoofing, h.PasswordHash, append([]string{}, h.SSHKeys...)).Scan(&h.ID, &h.CreatedAt)
	if err != nil {
		return err
	}
	for _, d := range disks {
		err := t.Later(ctx, `INSERT INTO disk (host_id, name, size_mib, boot_order, template) VALUES ($1, $2, $3, $4, $5)`,
			h.ID, d.Name, d.SizeMiB, d.BootOrder, d.Template)
		if err != nil {
			return err
		}
	}
	for i, a := range addrs {
		a.Position = clamp.Int32(i)
		if err := t.Later(ctx, insertAddress, addressRow(h.ID, a)...); err != nil {
			return err
		}
	}
	return nil
}

// SaveHost stores what may change of a host.
func (t Tx) SaveHost(ctx context.Context, h *domain.Host) error {
	_, err := t.Exec(ctx, `
		UPDATE host SET name = $2, comment = $3, state = $4, wanted = $5, changed_at = now()
		WHERE id = $1`, h.ID, h.Name, h.Comment, h.State, h.Wanted)
	return err
}

// DeleteHost removes the host's rows and gives back what it had of its account's limits and of its node. Deleting what is gone succeeds.
func (t Tx) DeleteHost(ctx context.Context, id int32) error {
	if err := t.refund(ctx, id); err != nil {
		return err
	}
	_, err := t.Exec(ctx, `
		WITH size AS (SELECT coalesce(sum(size_mib), 0)::int AS disks FROM disk WHERE host_id = $1),
		     gone AS (DELETE FROM host WHERE id = $1 RETURNING node_id, cpu_number, ram_mib)
		UPDATE node SET
			cpu_allocated     = cpu_allocated - gone.cpu_number,
			ram_allocated     = ram_allocated - gone.ram_mib,
			storage_allocated = storage_allocated - size.disks
		FROM gone, size WHERE node.id = gone.node_id`, id)
	return err
}

// Build is everything that the agent needs to make a host.
type Build struct {
	domain.Host
	Disks     []domain.Disk
	Addresses []domain.Address // in all states
	Endpoint  string
	Bridge    string
	DNS       []string // for networks that have none of their own
}

// Build reads a host with disks, addresses and its node.
func (s *Store) Build(ctx context.Context, id int32) (*Build, error) {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT `+hostColumns+` FROM host WHERE id = $1`, id)
	batch.Queue(`SELECT id, name, size_mib, boot_order, template FROM disk WHERE host_id = $1 ORDER BY boot_order`, id)
	batch.Queue(hostAddresses, id)
	batch.Queue(`
		SELECT n.endpoint, n.bridge, CASE WHEN c.dns_servers = '{}' THEN n.dns ELSE c.dns_servers END AS dns
		FROM host h JOIN node n ON n.id = h.node_id JOIN cluster c ON c.id = h.cluster_id WHERE h.id = $1`, id)
	res := s.pool.SendBatch(ctx, batch)
	defer res.Close()

	rows, err := res.Query()
	h, err := pg.One[hostRow](rows, err, pg.Missing("host", id))
	if err != nil {
		return nil, err
	}
	b := &Build{Host: domain.Host(h)}
	if rows, err = res.Query(); err != nil {
		return nil, err
	}
	type diskRow struct {
		ID        int32
		Name      string
		SizeMiB   int32 `db:"size_mib"`
		BootOrder int32 `db:"boot_order"`
		Template  string
	}
	disks, err := pgx.CollectRows(rows, pgx.RowToStructByName[diskRow])
	if err != nil {
		return nil, err
	}
	for _, d := range disks {
		b.Disks = append(b.Disks, domain.Disk(d))
	}
	if rows, err = res.Query(); err != nil {
		return nil, err
	}
	if b.Addresses, err = pgx.CollectRows(rows, addressOf); err != nil {
		return nil, err
	}
	err = res.QueryRow().Scan(&b.Endpoint, &b.Bridge, &b.DNS)
	return b, err
}

// Sight is a machine as its node saw it, with what it says of itself.
type Sight struct {
	UUID    uuid.UUID
	State   domain.State
	HostID  int32
	StackID string
	NodeID  string
	Fence   int64
}

// Observe takes over what a node saw at the database's time since: the state of hosts that no job is working on, and
// that nobody changed in between. Hosts that the node did not list are crashed: their definition is gone.
func (s *Store) Observe(ctx context.Context, nodeID int32, since time.Time, seen []Sight) (changed int64, err error) {
	ids := make([]uuid.UUID, len(seen))
	states := make([]string, len(seen))
	for i, x := range seen {
		ids[i], states[i] = x.UUID, string(x.State)
	}
	tag, err := s.pool.Exec(ctx, `
		UPDATE host h SET state = coalesce(v.state, 'crashed'), changed_at = now()
		FROM host o LEFT JOIN unnest($2::uuid[], $3::text[]) AS v(uuid, state) ON v.uuid = o.uuid
		WHERE o.id = h.id AND h.node_id = $1 AND h.changed_at < $4
		  AND h.state IN ('active', 'stopped', 'crashed', 'paused', 'unknown')
		  AND h.state <> coalesce(v.state, 'crashed')
		  AND NOT EXISTS (SELECT FROM job j WHERE j.key = 'host/' || h.id AND j.state IN ('queued', 'running', 'undoing'))`,
		nodeID, ids, states, since)
	return tag.RowsAffected(), err
}

// LoseSight makes the hosts of a node that does not answer unknown, never stopped.
func (s *Store) LoseSight(ctx context.Context, nodeID int32) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE host SET state = 'unknown', changed_at = now()
		WHERE node_id = $1 AND state IN ('active', 'stopped', 'crashed', 'paused')`, nodeID)
	return err
}

// Now is the database's clock, by which rows are dated.
func (s *Store) Now(ctx context.Context) (t time.Time, err error) {
	err = s.pool.QueryRow(ctx, `SELECT now()`).Scan(&t)
	return t, err
}
