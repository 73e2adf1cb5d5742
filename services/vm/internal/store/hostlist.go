package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
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

var hostList = query.List{
	From: "host h",
	Joins: []query.Join{
		{Alias: "c", SQL: "JOIN cluster c ON c.id = h.cluster_id"},
		{Alias: "n", SQL: "JOIN node n ON n.id = h.node_id"},
		{Alias: "o", SQL: "JOIN os o ON o.id = h.os_id"},
		{Alias: "a", SQL: "LEFT JOIN account a ON a.id = h.account_id"},
		{Alias: "d", SQL: `LEFT JOIN LATERAL (
			SELECT k.id, k.name, k.size_mib, (SELECT count(*)::int FROM disk z WHERE z.host_id = h.id) AS disk_count
			FROM disk k WHERE k.host_id = h.id ORDER BY k.boot_order, k.id LIMIT 1) d ON true`},
	},
	Columns: `h.id, h.uuid, h.name, h.comment, h.state, h.domain, h.cpu_number, h.ram_mib, h.anti_spoofing, h.mac::text AS mac,
		h.created_at, c.id AS cluster_id, c.name AS cluster_name, n.id AS node_id, n.name AS node_name, n.endpoint, n.bridge,
		n.maintenance, h.account_id, coalesce(a.email, '') AS email, o.id AS os_id, o.name AS os_name, o.os_group,
		coalesce(d.id, 0) AS disk_id, coalesce(d.name, '') AS disk_name, coalesce(d.size_mib, 0) AS disk_mib,
		coalesce(d.disk_count, 0) AS disk_count,
		ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 4 AND x.state <> 'adding' ORDER BY x.position) AS ip4,
		ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 6 AND x.state <> 'adding' ORDER BY x.position) AS ip6,
		(SELECT j.id FROM job j WHERE j.key = 'host/' || h.id AND j.state IN ('queued', 'running', 'undoing')
		 ORDER BY j.id LIMIT 1) AS task`,
	LastNotify: now,
	Counters:   []query.Counter{{Table: "host_count", Fields: []string{"state", "cluster", "cluster.id", "cluster.name"}}},
	Fields: map[string]query.Field{
		"id":                    {SQL: "h.id", Type: query.Int},
		"name":                  {SQL: "h.name", Type: query.Text},
		"comment":               {SQL: "h.comment", Type: query.Text},
		"domain":                {SQL: "h.domain", Type: query.Text},
		"state":                 {SQL: "h.state", Type: query.Text},
		"cpu_number":            {SQL: "h.cpu_number", Type: query.Int},
		"ram_mib":               {SQL: "h.ram_mib", Type: query.Int},
		"anti_spoofing":         {SQL: "h.anti_spoofing", Type: query.Bool},
		"create_date":           {SQL: "h.created_at", Type: query.Time},
		"account":               {SQL: "h.account_id", Type: query.Int},
		"account.id":            {SQL: "h.account_id", Type: query.Int},
		"account.email":         {SQL: "a.email", Type: query.Mail, Null: true, Needs: "a"},
		"cluster":               {SQL: "h.cluster_id", Type: query.Int},
		"cluster.id":            {SQL: "h.cluster_id", Type: query.Int},
		"cluster.name":          {SQL: "c.name", Type: query.Text, Needs: "c"},
		"node":                  {SQL: "h.node_id", Type: query.Int},
		"node.id":               {SQL: "h.node_id", Type: query.Int},
		"node.name":             {SQL: "n.name", Type: query.Text, Needs: "n"},
		"node.maintenance_mode": {SQL: "n.maintenance", Type: query.Bool, Needs: "n"},
		"os":                    {SQL: "h.os_id", Type: query.Int},
		"os.id":                 {SQL: "h.os_id", Type: query.Int},
		"os.name":               {SQL: "o.name", Type: query.Text, Needs: "o"},
		"os_name":               {SQL: "o.name", Type: query.Text, Needs: "o"},
		"os_group":              {SQL: "o.os_group", Type: query.Text, Needs: "o"},
		"internal_name":         {SQL: "h.uuid::text", Type: query.Text},
		"disk.disk_mib":         {SQL: "d.size_mib", Type: query.Int, Null: true, Needs: "d"},
		"disk_count":            {SQL: "coalesce(d.disk_count, 0)", Type: query.Int, Needs: "d"},
		"mac":                   {SQL: "h.mac::text", Type: query.Text},
		"ip4":                   {SQL: "x.addr", Type: query.IP, Each: "host_address x WHERE x.host_id = h.id AND x.family = 4 AND x.state <> 'adding'"},
		"ip6":                   {SQL: "x.addr", Type: query.IP, Each: "host_address x WHERE x.host_id = h.id AND x.family = 6 AND x.state <> 'adding'"},
	},
}

// Hosts returns a page of the hosts of owner, of all for owner 0.
func (s *Store) Hosts(ctx context.Context, q *querypb.Query, owner int32) (query.Rows[HostItem], error) {
	return query.Read[HostItem](ctx, s.lists, hostList, q, own("h.account_id", owner))
}

// HostItem returns one host of owner.
func (s *Store) HostItem(ctx context.Context, id, owner int32) (HostItem, error) {
	rows, err := s.pool.Query(ctx, hostList.Row(`h.id = $2 AND ($1 = 0 OR h.account_id = $1)`), owner, id)
	return pg.One[HostItem](rows, err, pg.Missing("host", id))
}

// FoldCounts makes one number of the changes to each number of hosts, when there are many.
func (s *Store) FoldCounts(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `
		WITH gone AS (
			DELETE FROM host_count WHERE (SELECT count(*) FROM (SELECT FROM host_count LIMIT 500) v) = 500
			RETURNING cluster_id, state, n)
		INSERT INTO host_count (cluster_id, state, n)
		SELECT cluster_id, state, sum(n) FROM gone GROUP BY 1, 2 HAVING sum(n) <> 0`)
	return err
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
	Prefix    int32
	State     string
	Domain    string // PTR record
}

// hostIPList is in the order in which the host has its addresses.
var hostIPList = query.List{
	From: "host_address x", Key: "position", LastNotify: now,
	Columns: `x.ip_id, host(x.addr) AS addr, x.gateway, x.mask, x.family, x.pool_id, x.network_id, x.interface,
		x.prefix, x.state, x.domain`,
	Fields: map[string]query.Field{
		"id":                {SQL: "x.ip_id", Type: query.Int},
		"position":          {SQL: "x.position", Type: query.Int},
		"ip_addr":           {SQL: "x.addr", Type: query.IP},
		"gateway":           {SQL: "x.gateway", Type: query.Text},
		"mask":              {SQL: "x.mask", Type: query.Text},
		"state":             {SQL: "x.state", Type: query.Text},
		"domain":            {SQL: "x.domain", Type: query.Text},
		"family":            {SQL: "x.family", Type: query.Int},
		"ippool":            {SQL: "x.pool_id", Type: query.Int},
		"network":           {SQL: "x.network_id", Type: query.Int},
		"cluster_interface": {SQL: "x.interface", Type: query.Int},
	},
}

// HostIPs returns a page of the addresses of one family of a host.
func (s *Store) HostIPs(ctx context.Context, q *querypb.Query, id, family int32) (query.Rows[HostIP], error) {
	return query.Read[HostIP](ctx, s.lists, hostIPList, q, query.Scope{SQL: "x.host_id = $1 AND x.family = $2", Args: []any{id, family}})
}
