package host

import (
	"context"
	"time"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/machine"
)

// placement is what a new host is planned on. What is missing is 0.
type placement struct {
	ClusterID      int32
	DomainTemplate string
	AntiSpoofing   bool // the cluster's policy
	OSID           int32
	Ready          bool // the OS is not being imported any more
	Limits         account.Limits
}

// readPlacement reads cluster, OS and account of a new host in one round trip; cluster 0 is the first. OSes for
// administrators only are seen if all is set.
func readPlacement(ctx context.Context, db *unit.DB, cluster, os, owner int32, all bool) (p placement, err error) {
	err = db.QueryRow(ctx, `
		SELECT coalesce(c.id, 0), coalesce(c.domain_template, ''), coalesce(c.anti_spoofing, true), coalesce(o.id, 0), coalesce(o.state = 'active', false),
		       `+account.LimitColumns+`
		FROM (SELECT) one
		LEFT JOIN LATERAL (SELECT id, domain_template, anti_spoofing FROM cluster WHERE id = $1 OR $1 = 0 ORDER BY id LIMIT 1) c ON true
		LEFT JOIN LATERAL (SELECT id, state FROM os WHERE id = $2 AND ($3 OR NOT adminonly)) o ON true
		LEFT JOIN account_usage u ON u.account_id = $4`,
		cluster, os, all, owner).Scan(append([]any{
		&p.ClusterID, &p.DomainTemplate, &p.AntiSpoofing, &p.OSID, &p.Ready,
	}, p.Limits.Dest()...)...)
	return p, err
}

// Booted records with which size the machine was started, and whether with its addresses alone; nil: as cluster and
// administrators say now.
func Booted(ctx context.Context, tx *unit.Tx, id int32, limited *bool, size machine.Size) error {
	if err := started(ctx, tx, id, size); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		UPDATE host h SET anti_spoofing = coalesce($2, h.anti_spoofing_own, c.anti_spoofing) FROM cluster c
		WHERE h.id = $1 AND c.id = h.cluster_id AND h.anti_spoofing <> coalesce($2, h.anti_spoofing_own, c.anti_spoofing)`, id, limited)
	return err
}

// size counts what a host has of disks, in MiB, and of IPv4 addresses. The host is locked.
func size(ctx context.Context, tx *unit.Tx, id int32) (disks, ipv4 int64, err error) {
	err = tx.QueryRow(ctx, `
		SELECT (SELECT coalesce(sum(size_mib), 0) FROM disk WHERE host_id = $1),
		       (SELECT count(*) FROM host_address WHERE host_id = $1 AND family = 4)`, id).Scan(&disks, &ipv4)
	return disks, ipv4, err
}

// usageOf returns what locked hosts use of the limits of their account.
func usageOf(ctx context.Context, tx *unit.Tx, ids []int32) (u account.Usage, err error) {
	err = tx.QueryRow(ctx, `
		SELECT count(*), coalesce(sum(coalesce(cpu_sold, cpu_number)), 0), coalesce(sum(coalesce(ram_sold, ram_mib)), 0),
		       (SELECT coalesce(sum(size_mib), 0) FROM disk WHERE host_id = ANY($1)),
		       (SELECT count(*) FROM host_address WHERE host_id = ANY($1) AND family = 4)
		FROM host WHERE id = ANY($1)`, ids).Scan(
		&u[account.HostCount], &u[account.CPUNumber], &u[account.RAMMiB], &u[account.HDDMiB], &u[account.IPv4Number])
	return u, err
}

// Begin returns the time of the database, by which rows are dated, and whether no host of a node was changed, made or
// removed for lately.
func Begin(ctx context.Context, db *unit.DB, nodeID int32, lately time.Duration) (since time.Time, quiet bool, err error) {
	err = db.QueryRow(ctx, `
		SELECT now(), NOT EXISTS (SELECT FROM host WHERE node_id = $1 AND changed_at > now() - $2::interval)
			AND NOT EXISTS (SELECT FROM tombstone WHERE node = (SELECT uuid FROM node WHERE id = $1) AND created_at > now() - $2::interval)`,
		nodeID, lately).Scan(&since, &quiet)
	return since, quiet, err
}

// BuryHost leaves a tombstone of a host that is removed by the command with this fence.
func (t rows) BuryHost(ctx context.Context, id int32, fence int64) error {
	_, err := t.Exec(ctx, `
		INSERT INTO tombstone (uuid, host_id, node, fence)
		SELECT h.uuid, h.id, n.uuid, $2 FROM host h JOIN node n ON n.id = h.node_id WHERE h.id = $1
		ON CONFLICT DO NOTHING`, id, fence)
	return err
}
