package address

import (
	"context"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// Select reads the addresses of the host $1, which Scan takes.
const Select = `
	SELECT x.ip_id, x.family, x.prefix, x.pool_id, x.network_id, x.interface, host(x.addr), x.mask, x.gateway, x.dns, x.state,
		coalesce(x.job_id, 0), x.position, x.generation, x.domain, x.ptr_serial, n.gateway, n.dns
	FROM host_address x LEFT JOIN network n ON n.id = x.network_id WHERE x.host_id = $1 ORDER BY x.position`

// Scan reads one address from a row of Select.
func Scan(row pgx.CollectableRow) (a Address, err error) {
	var gateway *string
	var dns []string
	err = row.Scan(&a.IPID, &a.Family, &a.Prefix, &a.PoolID, &a.NetworkID, &a.Interface, &a.Addr, &a.Mask, &a.Gateway, &a.DNS,
		&a.State, &a.Job, &a.Position, &a.Generation, &a.Domain, &a.PTRSerial, &gateway, &dns)
	if gateway != nil {
		a.Now = &Network{*gateway, dns}
	}
	return a, err
}

const insert = `
		INSERT INTO host_address (host_id, position, ip_id, addr, family, prefix, mask, gateway, pool_id, network_id, interface,
			dns, state, job_id, generation, domain, ptr_serial)
		VALUES ($1, $2, $3, $4::text::inet, $5, $6, $7, $8, $9, $10, $11, $12, $13, nullif($14, 0), $15, $16, $17)`

// values are those of the columns of insert.
func values(host int32, a Address) []any {
	return []any{
		host, a.Position, a.IPID, a.Addr, a.Family, a.Prefix, a.Mask, a.Gateway, a.PoolID, a.NetworkID, a.Interface,
		append([]string{}, a.DNS...), a.State, a.Job, a.Generation, a.Domain, a.PTRSerial,
	}
}

// Of returns the addresses of a host, in all states. Callers that change them hold the host's row.
func Of(ctx context.Context, db pg.DB, host int32) ([]Address, error) {
	rows, err := db.Query(ctx, Select, host)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, Scan)
}

// Insert adds the addresses of a new host, at the end of the unit of work.
func Insert(ctx context.Context, tx *unit.Tx, host int32, list []Address) error {
	for i, a := range list {
		a.Position = clamp.Int32(i)
		if err := tx.Later(ctx, insert, values(host, a)...); err != nil {
			return err
		}
	}
	return nil
}

// Change records what a job will add to a host, behind what it has, and what it will remove.
func Change(ctx context.Context, tx *unit.Tx, host, job int32, add, remove []Address) error {
	var next int32
	err := tx.QueryRow(ctx, `SELECT coalesce(max(position) + 1, 0) FROM host_address WHERE host_id = $1`, host).Scan(&next)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	for i, a := range add {
		a.Position, a.State, a.Job = next+clamp.Int32(i), Adding, job
		b.Queue(insert, values(host, a)...)
	}
	for _, a := range remove {
		b.Queue(`
			UPDATE host_address SET state = 'removing', job_id = $3
			WHERE host_id = $1 AND position = $2 AND state = 'active'`, host, a.Position, job)
	}
	return tx.SendBatch(ctx, b).Close()
}

// Changed records that the node has made a job's change, and returns what the job removed.
func Changed(ctx context.Context, tx *unit.Tx, host, job int32) ([]Address, error) {
	_, err := tx.Exec(ctx, `
		UPDATE host_address SET state = 'active', job_id = NULL
		WHERE host_id = $1 AND job_id = $2 AND state = 'adding'`, host, job)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		DELETE FROM host_address WHERE host_id = $1 AND job_id = $2
		RETURNING ip_id, family, prefix, pool_id, network_id, interface, host(addr), mask, gateway, dns, state, job_id,
			position, generation, domain, ptr_serial, NULL::text, NULL::text[]`, host, job)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, Scan)
}

// Unchanged records that a job's change was taken back.
func Unchanged(ctx context.Context, tx *unit.Tx, host, job int32) error {
	_, err := tx.Exec(ctx, `DELETE FROM host_address WHERE host_id = $1 AND job_id = $2 AND state = 'adding'`, host, job)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		UPDATE host_address SET state = 'active', job_id = NULL WHERE host_id = $1 AND job_id = $2`, host, job)
	return err
}

// Holders returns the hosts that have an address. Callers that change what the hosts have lock the hosts next.
func Holders(ctx context.Context, tx *unit.Tx, ip int32) ([]int32, error) {
	rows, err := tx.Query(ctx, `SELECT DISTINCT host_id FROM host_address WHERE ip_id = $1 ORDER BY 1`, ip)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}

// Name keeps the domain of an address, and reports whether it is new. Of two domains the one with the higher serial
// counts.
func Name(ctx context.Context, tx *unit.Tx, ip, serial int32, domain, state string) (changed bool, err error) {
	tag, err := tx.Exec(ctx, `
		UPDATE host_address SET domain = $3, ptr_serial = $2, ptr_state = $4, ptr_error = ''
		WHERE ip_id = $1 AND ptr_serial < $2`, ip, serial, domain, state)
	return tag.RowsAffected() > 0, err
}

// Published keeps what a name server made of the name of an address, unless the address has another name by now.
func Published(ctx context.Context, tx *unit.Tx, p *ippb.AddressPublished) error {
	_, err := tx.Exec(ctx, `
		UPDATE host_address SET ptr_state = $3, ptr_error = $4 WHERE addr = $1::text::inet AND domain = $2`,
		p.GetIpAddr(), p.GetDomain(), p.GetState(), p.GetError())
	return err
}

// NetworkChanged keeps the gateway and the name servers of a network. Its hosts get them at their next start.
func NetworkChanged(ctx context.Context, tx *unit.Tx, n *ippb.NetworkChanged) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO network (id, gateway, dns) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET gateway = excluded.gateway, dns = excluded.dns`,
		n.GetId(), n.GetGateway(), append([]string{}, n.GetDnsServers()...))
	return err
}

// Booted records with which gateways and name servers the guest of a host was started. Without a list it was started
// with those that the networks have now.
func Booted(ctx context.Context, tx *unit.Tx, host int32, list []Address) error {
	if list == nil {
		_, err := tx.Exec(ctx, `
			UPDATE host_address x SET gateway = n.gateway, dns = n.dns FROM network n
			WHERE x.host_id = $1 AND n.id = x.network_id AND (x.gateway, x.dns) IS DISTINCT FROM (n.gateway, n.dns)`, host)
		return err
	}
	for _, a := range list {
		if a.Now == nil {
			continue
		}
		_, err := tx.Exec(ctx, `
			UPDATE host_address SET gateway = $3, dns = $4
			WHERE host_id = $1 AND ip_id = $2 AND (gateway, dns) IS DISTINCT FROM ($3, $4)`,
			host, a.IPID, a.Gateway, append([]string{}, a.DNS...))
		if err != nil {
			return err
		}
	}
	return nil
}
