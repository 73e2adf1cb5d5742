package host

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/hostname"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/tag"
)

const hostColumns = `id, uuid, name, comment, domain, hostname, state, wanted, account_id, cluster_id, node_id, os_id,
	cpu_number, ram_mib, mac, anti_spoofing, anti_spoofing_own, password_hash, ssh_keys, created_at, balanced,
	is_protected, autostart, tags, rescue_disk, cd,
	cpu_number_new, ram_mib_new, cpu_sold, ram_sold, resize_task, limits, limits_new`

type hostRow struct {
	ID           int32
	UUID         uuid.UUID
	Name         string
	Comment      string
	Domain       string
	Hostname     string
	State        State
	Wanted       string
	AccountID    int32 `db:"account_id"`
	ClusterID    int32 `db:"cluster_id"`
	NodeID       int32 `db:"node_id"`
	OSID         int32 `db:"os_id"`
	CPUs         int32 `db:"cpu_number"`
	RAM          int32 `db:"ram_mib"`
	MAC          net.HardwareAddr
	AntiSpoofing bool      `db:"anti_spoofing"`
	Limited      *bool     `db:"anti_spoofing_own"`
	PasswordHash string    `db:"password_hash"`
	SSHKeys      []string  `db:"ssh_keys"`
	CreatedAt    time.Time `db:"created_at"`
	Balanced     bool
	Protected    bool `db:"is_protected"`
	Autostart    bool
	Tags         []string
	Rescue       string `db:"rescue_disk"`
	CD           string
	NewCPUs      *int32 `db:"cpu_number_new"`
	NewRAM       *int32 `db:"ram_mib_new"`
	SoldCPUs     *int32 `db:"cpu_sold"`
	SoldRAM      *int32 `db:"ram_sold"`
	ResizeTask   *int32 `db:"resize_task"`
	Limits       *machine.Limits
	NewLimits    *machine.Limits `db:"limits_new"`
}

// Lock loads and locks a host for this unit of work. A host of another owner is not found; owner 0 sees all.
func Lock(ctx context.Context, tx *unit.Tx, id, owner int32) (*Host, error) {
	rows, err := tx.Query(ctx, `
		SELECT `+hostColumns+` FROM host
		WHERE id = $1 AND ($2 = 0 OR account_id = $2) FOR UPDATE`, id, owner)
	r, err := pg.One[hostRow](rows, err, pg.Missing("host", id))
	h := Host(r)
	return &h, err
}

// QueueLock locks the host with a UUID, if there is one, as a part of b.
func QueueLock(b *pgx.Batch, id string) {
	b.Queue(`SELECT FROM host WHERE uuid = nullif($1, '')::uuid FOR UPDATE`, id)
}

// startedAt is the SQL of the time since when a host runs, in an update to the state $4. It is null while the host does not
// run, and stays while the host is merely out of sight.
const startedAt = `CASE WHEN $4 = 'active' AND state NOT IN ('active', 'paused', 'unknown') THEN now()
			WHEN $4 IN ('stopped', 'crashed') THEN NULL ELSE started_at END`

// Save stores what may change of a host.
func Save(ctx context.Context, tx *unit.Tx, h *Host) error {
	_, err := tx.Exec(ctx, `
		UPDATE host SET name = $2, comment = $3, state = $4, wanted = $5, balanced = $6, anti_spoofing_own = $7, changed_at = now(),
			is_protected = $8, autostart = $9, tags = $10, started_at = `+startedAt+`
		WHERE id = $1`, h.ID, h.Name, h.Comment, h.State, h.Wanted, h.Balanced, h.Limited, h.Protected, h.Autostart,
		append([]string{}, h.Tags...))
	return err
}

// SetRescue records the rescue system that a locked host is in; name "" for none.
func SetRescue(ctx context.Context, tx *unit.Tx, id int32, name, template string, sizeMiB int32) error {
	_, err := tx.Exec(ctx, `UPDATE host SET rescue_disk = $2, rescue_template = $3, rescue_mib = $4 WHERE id = $1`, id, name, template, sizeMiB)
	return err
}

// SetCD records the CD in the drive of a locked host; "" for none.
func SetCD(ctx context.Context, tx *unit.Tx, id int32, name string) error {
	_, err := tx.Exec(ctx, `UPDATE host SET cd = $2 WHERE id = $1`, id, name)
	return err
}

// SetPassword records the password of a locked host. serial is not 0 if the guest takes it at its next start.
func SetPassword(ctx context.Context, tx *unit.Tx, id int32, hash string, serial int32) error {
	_, err := tx.Exec(ctx, `UPDATE host SET password_hash = $2, password_serial = $3 WHERE id = $1`, id, hash, serial)
	return err
}

// SetSystem records what is installed on a locked host, and the password with which it begins.
func SetSystem(ctx context.Context, tx *unit.Tx, id, os int32, hash string) error {
	_, err := tx.Exec(ctx, `UPDATE host SET os_id = $2, password_hash = $3, password_serial = 0 WHERE id = $1`, id, os, hash)
	return err
}

// SetDomain gives a locked host another domain, and its guest the name that belongs to it. The guest has them from its next
// start on.
func SetDomain(ctx context.Context, tx *unit.Tx, h *Host, domain string) error {
	if h.Domain == domain {
		return nil
	}
	h.Domain, h.Hostname = domain, hostname.Label(domain)
	if _, err := tx.Exec(ctx, `UPDATE host SET domain = $2, hostname = $3 WHERE id = $1`, h.ID, h.Domain, h.Hostname); err != nil {
		return err
	}
	return Emit(ctx, tx, h, "updated")
}

// Rebooted records that the machines of a node were off a moment ago, and returns the hosts that are to run again. Those
// without autostart are not to run any more.
func Rebooted(ctx context.Context, tx *unit.Tx, nodeID int32) ([]int32, error) {
	rows, err := tx.Query(ctx, `
		UPDATE host SET started_at = CASE WHEN autostart THEN now() END, wanted = CASE WHEN autostart THEN wanted ELSE 'stopped' END
		WHERE node_id = $1 AND wanted = 'active' AND state NOT IN ('creating', 'deleting')
		RETURNING CASE WHEN autostart THEN id ELSE 0 END`, nodeID)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	ids = slices.DeleteFunc(ids, func(id int32) bool { return id == 0 })
	slices.Sort(ids)
	return ids, err
}

// rows are the tables in a unit of work.
type rows struct{ *unit.Tx }

// Host loads and locks a host.
func (t rows) Host(ctx context.Context, id, owner int32) (*Host, error) {
	return Lock(ctx, t.Tx, id, owner)
}

// SaveHost stores what may change of a host.
func (t rows) SaveHost(ctx context.Context, h *Host) error { return Save(ctx, t.Tx, h) }

// InsertHost stores a new host and gives it its id. Disks and addresses follow at the end of the unit of work.
func (t rows) InsertHost(ctx context.Context, h *Host, disks []disk.Disk, addrs []address.Address) error {
	if err := tag.Hold(ctx, t.Tx, h.Tags); err != nil {
		return err
	}
	err := t.QueryRow(ctx, `
		INSERT INTO host (uuid, name, comment, domain, hostname, state, wanted, account_id, cluster_id, node_id, os_id,
			cpu_number, ram_mib, mac, anti_spoofing, password_hash, ssh_keys, balanced, anti_spoofing_own, tags,
			limits)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
			$21)
		RETURNING id, created_at`,
		h.UUID, h.Name, h.Comment, h.Domain, h.Hostname, h.State, h.Wanted, h.AccountID, h.ClusterID, h.NodeID, h.OSID,
		h.CPUs, h.RAM, h.MAC, h.AntiSpoofing, h.PasswordHash, append([]string{}, h.SSHKeys...), h.Balanced, h.Limited,
		append([]string{}, h.Tags...), h.Limits).
		Scan(&h.ID, &h.CreatedAt)
	if pg.IsUnique(err, "host_mac_key") {
		return fault.Conflict.With("another host has the hardware address %s", h.MAC).On(card{}.on("mac"))
	}
	if err != nil {
		return err
	}
	if err := disk.Insert(ctx, t.Tx, h.ID, disks); err != nil {
		return err
	}
	return address.Insert(ctx, t.Tx, h.ID, addrs)
}

// Take charges the host's account and takes its room on the node. It fails with the limit that is in the way, or with
// node.ErrRoomTaken. It is the last statement of its unit of work: every host of the account and every host on the node
// passes through the rows that are locked from here to the commit.
func (t rows) Take(ctx context.Context, h *Host, add account.Usage, size node.Size) error {
	var charged, taken bool
	err := t.Last(ctx, func(b *pgx.Batch) {
		account.QueueCharge(b, h.AccountID, add, &charged)
		node.QueueTake(b, h.ClusterID, h.NodeID, h.OSID, size, &taken)
	})
	if err != nil {
		return err
	}
	if !charged {
		if err := account.Allow(ctx, t.Tx, h.AccountID, add); err != nil {
			return err
		}
		return node.ErrRoomTaken // a host was deleted meanwhile: the limit is no longer in the way
	}
	if !taken {
		return node.ErrRoomTaken
	}
	return nil
}

// DeleteHost removes the host's rows and gives back what it had of its account's limits and of its node. Deleting a
// host that is gone succeeds.
func (t rows) DeleteHost(ctx context.Context, id int32) error {
	h, err := Lock(ctx, t.Tx, id, 0)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	disks, ipv4, err := size(ctx, t.Tx, id)
	if err != nil {
		return err
	}
	cpus, ram := h.Sold()
	b := &pgx.Batch{}
	account.QueueRefund(b, h.AccountID, account.Usage{
		account.HostCount: 1, account.CPUNumber: int64(cpus), account.RAMMiB: int64(ram), account.HDDMiB: disks,
		account.IPv4Number: ipv4,
	})
	b.Queue(`DELETE FROM host WHERE id = $1`, id)
	node.QueueRelease(b, h.NodeID, node.Size{CPUs: cpus, RAM: ram, Disk: disks})
	return t.SendBatch(ctx, b).Close()
}
