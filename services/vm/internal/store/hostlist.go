package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
)

// HostItem is a host as lists show it, in one row.
type HostItem struct {
	ID           int32
	UUID         uuid.UUID
	Name         string
	Comment      string
	State        string
	Domain       string
	CPUs         int32     `db:"cpu_number"`
	RAM          int32     `db:"ram_mib"`
	AntiSpoofing bool      `db:"anti_spoofing"`
	MAC          string    `db:"mac"`
	CreatedAt    time.Time `db:"created_at"`
	ClusterID    int32     `db:"cluster_id"`
	Cluster      string    `db:"cluster_name"`
	NodeID       int32     `db:"node_id"`
	Node         string    `db:"node_name"`
	Endpoint     string    `db:"endpoint"`
	Bridge       string    `db:"bridge"`
	Maintenance  bool      `db:"maintenance"`
	AccountID    int32     `db:"account_id"`
	Email        string    `db:"email"`
	OSID         int32     `db:"os_id"`
	OS           string    `db:"os_name"`
	OSGroup      string    `db:"os_group"`
	DiskID       int32     `db:"disk_id"`
	DiskName     string    `db:"disk_name"`
	DiskMiB      int32     `db:"disk_mib"`
	DiskCount    int32     `db:"disk_count"`
	IP4          []string  `db:"ip4"`
	IP6          []string  `db:"ip6"`
	Task         *int32    `db:"task"`
}

const hostItemColumns = `h.id, h.uuid, h.name, h.comment, h.state, h.domain, h.cpu_number, h.ram_mib, h.anti_spoofing, h.mac::text AS mac,
	h.created_at, c.id AS cluster_id, c.name AS cluster_name, n.id AS node_id, n.name AS node_name, n.endpoint, n.bridge,
	n.maintenance, h.account_id, coalesce(a.email, '') AS email, o.id AS os_id, o.name AS os_name, o.os_group,
	d.id AS disk_id, d.name AS disk_name, d.size_mib AS disk_mib, d.disk_count,
	ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 4 ORDER BY x.position) AS ip4,
	ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 6 ORDER BY x.position) AS ip6,
	(SELECT j.id FROM job j WHERE j.key = 'host/' || h.id AND j.state IN ('queued', 'running', 'undoing')
	 ORDER BY j.id LIMIT 1) AS task`

const hostItemFrom = `FROM host h
	JOIN cluster c ON c.id = h.cluster_id
	JOIN node n ON n.id = h.node_id
	JOIN os o ON o.id = h.os_id
	LEFT JOIN account a ON a.id = h.account_id
	CROSS JOIN LATERAL (
		SELECT k.id, k.name, k.size_mib, (SELECT count(*)::int FROM disk z WHERE z.host_id = h.id) AS disk_count
		FROM disk k WHERE k.host_id = h.id ORDER BY k.boot_order LIMIT 1) d`

var hostList = query.List{Fields: map[string]query.Field{
	"id":            {SQL: "h.id", Type: query.Int},
	"name":          {SQL: "h.name", Type: query.Text},
	"comment":       {SQL: "h.comment", Type: query.Text},
	"domain":        {SQL: "h.domain", Type: query.Text},
	"state":         {SQL: "h.state", Type: query.Text},
	"cpu_number":    {SQL: "h.cpu_number", Type: query.Int},
	"ram_mib":       {SQL: "h.ram_mib", Type: query.Int},
	"create_date":   {SQL: "h.created_at", Type: query.Time},
	"account":       {SQL: "h.account_id", Type: query.Int},
	"account.id":    {SQL: "h.account_id", Type: query.Int},
	"account.email": {SQL: "a.email", Type: query.Text},
	"cluster":       {SQL: "h.cluster_id", Type: query.Int},
	"cluster.id":    {SQL: "h.cluster_id", Type: query.Int},
	"cluster.name":  {SQL: "c.name", Type: query.Text},
	"node":          {SQL: "h.node_id", Type: query.Int},
	"node.id":       {SQL: "h.node_id", Type: query.Int},
	"node.name":     {SQL: "n.name", Type: query.Text},
	"os":            {SQL: "h.os_id", Type: query.Int},
	"os.id":         {SQL: "h.os_id", Type: query.Int},
	"os.name":       {SQL: "o.name", Type: query.Text},
	"os_name":       {SQL: "o.name", Type: query.Text},
	"internal_name": {SQL: "h.uuid::text", Type: query.Text},
	"disk.disk_mib": {SQL: "d.size_mib", Type: query.Int},
	"mac":           {SQL: "h.mac::text", Type: query.Text},
	"ip4": {
		SQL:  "ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 4)",
		Type: query.TextList,
	},
	"ip6": {
		SQL:  "ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 6)",
		Type: query.TextList,
	},
}}

const ownHosts = `$1 = 0 OR h.account_id = $1`

// Hosts returns a page of the hosts of owner, of all for owner 0.
func (s *Store) Hosts(ctx context.Context, q *querypb.Query, owner int32) ([]HostItem, int32, error) {
	return page[HostItem](ctx, s, hostList, q, hostItemColumns, hostItemFrom, ownHosts, owner)
}

// HostItem returns one host of owner.
func (s *Store) HostItem(ctx context.Context, id, owner int32) (HostItem, error) {
	rows, err := s.pool.Query(ctx,
		`SELECT `+hostItemColumns+` `+hostItemFrom+` WHERE h.id = $2 AND (`+ownHosts+`)`, owner, id)
	return one[HostItem](rows, err, missing("host", id))
}

// HostIP is an address of a host.
type HostIP struct {
	ID        int32  `db:"ip_id"`
	Addr      string `db:"addr"`
	Gateway   string
	Mask      string
	Family    int32
	Pool      int32 `db:"pool_id"`
	Network   int32 `db:"network_id"`
	Interface int32
}

// HostIPs returns the addresses of one family of a host.
func (s *Store) HostIPs(ctx context.Context, id, family int32) ([]HostIP, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT ip_id, host(addr) AS addr, gateway, mask, family, pool_id, network_id, interface
		FROM host_address WHERE host_id = $1 AND family = $2 ORDER BY position`, id, family)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[HostIP])
}
