package store

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/domain"
)

const hostAddresses = `
	SELECT ip_id, family, prefix, pool_id, network_id, interface, host(addr), mask, gateway, dns, state, coalesce(job_id, 0),
		position, generation, domain, ptr_serial
	FROM host_address WHERE host_id = $1 ORDER BY position`

func addressOf(row pgx.CollectableRow) (a domain.Address, err error) {
	err = row.Scan(&a.IPID, &a.Family, &a.Prefix, &a.PoolID, &a.NetworkID, &a.Interface, &a.Addr, &a.Mask, &a.Gateway, &a.DNS,
		&a.State, &a.Job, &a.Position, &a.Generation, &a.Domain, &a.PTRSerial)
	return a, err
}

const insertAddress = `
		INSERT INTO host_address (host_id, position, ip_id, addr, family, prefix, mask, gateway, pool_id, network_id, interface,
			dns, state, job_id, generation, domain, ptr_serial)
		VALUES ($1, $2, $3, $4::text::inet, $5, $6, $7, $8, $9, $10, $11, $12, $13, nullif($14, 0), $15, $16, $17)`

func addressRow(host int32, a domain.Address) []any {
	return []any{
		host, a.Position, a.IPID, a.Addr, a.Family, a.Prefix, a.Mask, a.Gateway, a.PoolID, a.NetworkID, a.Interface,
		append([]string{}, a.DNS...), a.State, a.Job, a.Generation, a.Domain, a.PTRSerial,
	}
}

// Addresses returns what a host has, in all states.
func (s *Store) Addresses(ctx context.Context, host int32) ([]domain.Address, error) {
	rows, err := s.pool.Query(ctx, hostAddresses, host)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, addressOf)
}

// Addresses returns what a host has, in all states. Who changes it holds the host's row.
func (t Tx) Addresses(ctx context.Context, host int32) ([]domain.Address, error) {
	rows, err := t.Query(ctx, hostAddresses, host)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, addressOf)
}

// Holder returns the host that has an address, if it is one of owner.
func (s *Store) Holder(ctx context.Context, ip, owner int32) (host int32, id uuid.UUID, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT h.id, h.uuid FROM host_address x JOIN host h ON h.id = x.host_id
		WHERE x.ip_id = $2 AND ($1 = 0 OR h.account_id = $1) ORDER BY x.generation DESC LIMIT 1`, owner, ip).Scan(&host, &id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, id, pg.Missing("address", ip)
	}
	return host, id, err
}

// ChangeAddresses records what a job will add to a host, behind what it has, and what it will remove.
func (t Tx) ChangeAddresses(ctx context.Context, host, job int32, add, remove []domain.Address) error {
	var next int32
	err := t.QueryRow(ctx, `SELECT coalesce(max(position) + 1, 0) FROM host_address WHERE host_id = $1`, host).Scan(&next)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	for i, a := range add {
		a.Position, a.State, a.Job = next+clamp.Int32(i), domain.AddressAdding, job
		b.Queue(insertAddress, addressRow(host, a)...)
	}
	for _, a := range remove {
		b.Queue(`
			UPDATE host_address SET state = 'removing', job_id = $3
			WHERE host_id = $1 AND position = $2 AND state = 'active'`, host, a.Position, job)
	}
	return t.SendBatch(ctx, b).Close()
}

// AddressesChanged records that the node has made a job's change, and returns what it removed.
func (t Tx) AddressesChanged(ctx context.Context, host, job int32) ([]domain.Address, error) {
	_, err := t.Exec(ctx, `
		UPDATE host_address SET state = 'active', job_id = NULL
		WHERE host_id = $1 AND job_id = $2 AND state = 'adding'`, host, job)
	if err != nil {
		return nil, err
	}
	rows, err := t.Query(ctx, `
		DELETE FROM host_address WHERE host_id = $1 AND job_id = $2
		RETURNING ip_id, family, prefix, pool_id, network_id, interface, host(addr), mask, gateway, dns, state, job_id,
			position, generation, domain, ptr_serial`, host, job)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, addressOf)
}

// AddressesUnchanged records that a job's change was taken back.
func (t Tx) AddressesUnchanged(ctx context.Context, host, job int32) error {
	_, err := t.Exec(ctx, `DELETE FROM host_address WHERE host_id = $1 AND job_id = $2 AND state = 'adding'`, host, job)
	if err != nil {
		return err
	}
	_, err = t.Exec(ctx, `
		UPDATE host_address SET state = 'active', job_id = NULL WHERE host_id = $1 AND job_id = $2`, host, job)
	return err
}

// DropAddress forgets that a host has an address, in the generation in which it had it. What a job is about stays: the job
// finds out that the reservation has expired, and takes everything back.
func (t Tx) DropAddress(ctx context.Context, ip, generation int32, owner string) error {
	// The host is held: who deletes it counts its addresses, and each must count once.
	_, err := t.Exec(ctx, `
		WITH h AS (SELECT id FROM host WHERE uuid = nullif($3, '')::uuid AND state <> 'creating' FOR UPDATE)
		DELETE FROM host_address x USING h
		WHERE h.id = x.host_id AND x.ip_id = $1 AND x.generation = $2 AND x.state = 'active'`, ip, generation, owner)
	return err
}

// NameAddress keeps the domain of an address. Of two the one with the higher serial counts.
func (t Tx) NameAddress(ctx context.Context, ip, serial int32, domain string) error {
	_, err := t.Exec(ctx, `
		UPDATE host_address SET domain = $3, ptr_serial = $2 WHERE ip_id = $1 AND ptr_serial < $2`, ip, serial, domain)
	return err
}

// KeepNetwork keeps what hosts of a network are told; they read it at their next start.
func (t Tx) KeepNetwork(ctx context.Context, network int32, gateway string, dns []string) error {
	_, err := t.Exec(ctx, `
		UPDATE host_address SET gateway = $2, dns = $3 WHERE network_id = $1`, network, gateway, append([]string{}, dns...))
	return err
}
