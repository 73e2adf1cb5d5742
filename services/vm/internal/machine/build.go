package machine

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
)

// A Reader reads the machine of a host.
type Reader func(ctx context.Context, host int32) (*Machine, error)

// Read returns a Reader of the tables. It reads the host with its disks, addresses and node in one round trip.
func Read(db *unit.DB) Reader {
	return func(ctx context.Context, host int32) (*Machine, error) {
		m, aid := &Machine{}, disk.Disk{}
		b := &pgx.Batch{}
		b.Queue(`
			SELECT h.id, h.uuid, h.name, h.hostname, h.domain, h.cpu_number, h.ram_mib, h.mac, h.anti_spoofing,
				coalesce(h.anti_spoofing_own, c.anti_spoofing), h.password_hash, h.ssh_keys,
				h.wanted = 'active',
				h.cpu_number_new, h.ram_mib_new, coalesce(h.limits, '{}'), h.limits_new, h.password_serial,
				h.rescue_disk, h.rescue_template, h.rescue_mib, h.cd
			FROM host h JOIN cluster c ON c.id = h.cluster_id WHERE h.id = $1`, host).QueryRow(func(row pgx.Row) error {
			return row.Scan(&m.ID, &m.UUID, &m.Name, &m.Hostname, &m.Domain, &m.CPUs, &m.RAM, &m.MAC, &m.AntiSpoofing, &m.Limited,
				&m.PasswordHash, &m.SSHKeys, &m.Wanted, &m.NewCPUs, &m.NewRAM, &m.Limits, &m.NewLimits, &m.Serial, &aid.Name, &aid.Template, &aid.SizeMiB, &m.CD)
		})
		b.Queue(disk.Select, host).
			Query(func(rows pgx.Rows) (err error) {
				m.Disks, err = pgx.CollectRows(rows, pgx.RowToStructByPos[disk.Disk])
				return err
			})
		b.Queue(address.Select, host).Query(func(rows pgx.Rows) (err error) {
			m.Addresses, err = pgx.CollectRows(rows, address.Scan)
			return err
		})
		b.Queue(`
			SELECT n.uuid, n.endpoint, n.bridge, CASE WHEN c.dns_servers = '{}' THEN n.dns ELSE c.dns_servers END AS dns
			FROM host h JOIN node n ON n.id = h.node_id JOIN cluster c ON c.id = h.cluster_id WHERE h.id = $1`, host).
			QueryRow(func(row pgx.Row) error { return row.Scan(&m.Node, &m.Endpoint, &m.Bridge, &m.DNS) })
		err := db.Pool.SendBatch(ctx, b).Close()
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, pg.Missing("host", host)
		}
		if aid.Name != "" {
			m.Rescue, m.Disks = true, append([]disk.Disk{aid}, m.Disks...)
		}
		return m, err
	}
}
