package host

import (
	"context"
	"time"

	"github.com/google/uuid"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/image"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/machine"
)

// item is a host as lists show it, in one row.
type item struct {
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
	DiskMiBNew   int32     `db:"disk_mib_new"`
	DiskCount    int32     `db:"disk_count"`
	IP4          []string  `db:"ip4"`
	IP6          []string  `db:"ip6"`
	Task         *int32    `db:"task"`
	Balancer     string
	Growing      bool            `db:"growing"`
	NewCPUs      int32           `db:"cpu_number_new"`
	NewRAM       int32           `db:"ram_mib_new"`
	Limits       *machine.Limits `db:"limits"`
	NewLimits    *machine.Limits `db:"limits_new"`
	Uptime       int32
	Synced       bool
	Protected    bool `db:"is_protected"`
	Autostart    bool
	Tags         []string
	Rescue       bool
	CD           bool
}

// balancerMode is the SQL of what balancers may do with the host h.
const balancerMode = `CASE WHEN h.balanced THEN '` + balancerOn + `' ELSE '` + balancerOff + `' END`

var hostList = query.List{
	From: "host h",
	Joins: []query.Join{
		{Alias: "c", SQL: "JOIN cluster c ON c.id = h.cluster_id"},
		{Alias: "n", SQL: "JOIN node n ON n.id = h.node_id"},
		{Alias: "o", SQL: "JOIN os o ON o.id = h.os_id"},
		{Alias: "a", SQL: "LEFT JOIN account a ON a.id = h.account_id"},
		{Alias: "d", SQL: `LEFT JOIN LATERAL (
			SELECT k.id, coalesce(nullif(k.label, ''), k.name) AS name, coalesce(k.had_mib, k.size_mib) AS size_mib, k.size_mib AS size_mib_new,
				(SELECT count(*)::int FROM disk z WHERE z.host_id = h.id) AS disk_count
			FROM disk k WHERE k.host_id = h.id ORDER BY k.boot_order, k.id LIMIT 1) d ON true`},
	},
	Columns: `h.id, h.uuid, h.name, h.comment, h.state, h.domain, h.cpu_number, h.ram_mib, h.anti_spoofing, h.mac::text AS mac,
		h.created_at, c.id AS cluster_id, c.name AS cluster_name, n.id AS node_id, n.name AS node_name, n.endpoint, n.bridge,
		n.maintenance, h.account_id, coalesce(a.email, '') AS email, o.id AS os_id, ` + image.Title + ` AS os_name, o.os_group,
		coalesce(d.id, 0) AS disk_id, coalesce(d.name, '') AS disk_name, coalesce(d.size_mib, 0) AS disk_mib, coalesce(d.size_mib_new, 0) AS disk_mib_new,
		coalesce(d.disk_count, 0) AS disk_count,
		ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 4 AND x.state <> 'adding' ORDER BY x.position) AS ip4,
		ARRAY(SELECT host(x.addr) FROM host_address x WHERE x.host_id = h.id AND x.family = 6 AND x.state <> 'adding' ORDER BY x.position) AS ip6,
		(SELECT j.id FROM job j WHERE j.key = 'host/' || h.id AND j.state IN ('queued', 'running', 'undoing')
		 ORDER BY j.id LIMIT 1) AS task,
		` + balancerMode + ` AS balancer,
		CASE WHEN h.state = 'active' THEN coalesce(extract(epoch FROM now() - h.started_at), 0)::int ELSE 0 END AS uptime,
		NOT EXISTS (SELECT FROM host_address x WHERE x.host_id = h.id AND x.state <> 'active') AS synced,
		h.is_protected, h.autostart, h.tags, h.rescue_disk <> '' AS rescue, h.cd <> '' AS cd,
		coalesce(h.cpu_number_new, h.cpu_number) AS cpu_number_new, coalesce(h.ram_mib_new, h.ram_mib) AS ram_mib_new,
		h.limits, h.limits_new, 'growth' = ANY(n.features) AS growing`,
	LastNotify: listing.Now,
	Quick:      []string{"name", "account", "account.id", "cluster", "cluster.id", "node", "node.id"},
	Counters: []query.Counter{
		{Table: "host_count", Fields: []string{"state", "cluster", "cluster.id", "cluster.name"}},
		{Table: "host_count_of", Fields: []string{
			"state", "cluster", "cluster.id", "cluster.name", "account", "account.id", "account.email",
		}},
	},
	Fields: withLimits(map[string]query.Field{
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
		"os.name":               {SQL: image.Title, Also: "o.name", Type: query.Text, Needs: "o"},
		"os_name":               {SQL: image.Title, Also: "o.name", Type: query.Text, Needs: "o"},
		"balancer_mode":         {SQL: "(" + balancerMode + ")", Type: query.Text},
		"os_group":              {SQL: "o.os_group", Type: query.Text, Needs: "o"},
		"internal_name":         {SQL: "h.uuid::text", Type: query.Text},
		"disk.disk_mib":         {SQL: "d.size_mib", Type: query.Int, Null: true, Needs: "d"},
		"disk.disk_mib_new":     {SQL: "d.size_mib_new", Type: query.Int, Null: true, Needs: "d"},
		"disk_count":            {SQL: "coalesce(d.disk_count, 0)", Type: query.Int, Needs: "d"},
		"is_protected":          {SQL: "h.is_protected", Type: query.Bool},
		"rescue_mode":           {SQL: "(h.rescue_disk <> '')", Type: query.Bool},
		"iso_mounted":           {SQL: "(h.cd <> '')", Type: query.Bool},
		"autostart":             {SQL: "h.autostart", Type: query.Bool},
		"tags":                  {SQL: "tag", Type: query.Text, Each: "unnest(h.tags) AS tag WHERE true"},
		"mac":                   {SQL: "h.mac::text", Type: query.Text},
		"ip4":                   {SQL: "x.addr", Type: query.IP, Each: "host_address x WHERE x.host_id = h.id AND x.family = 4 AND x.state <> 'adding'"},
		"ip6":                   {SQL: "x.addr", Type: query.IP, Each: "host_address x WHERE x.host_id = h.id AND x.family = 6 AND x.state <> 'adding'"},
		"cpu_number_new":        {SQL: "coalesce(h.cpu_number_new, h.cpu_number)", Type: query.Int},
		"ram_mib_new":           {SQL: "coalesce(h.ram_mib_new, h.ram_mib)", Type: query.Int},
		"cpu_mode":              {SQL: "coalesce(h.limits->>'cpu_mode', '" + machine.CPUDefault + "')", Type: query.Text},
		"cpu_custom_model":      {SQL: "coalesce(h.limits->>'cpu_custom_model', '')", Type: query.Text},
	}),
}

// withLimits adds the limits of hosts to the fields of a filter.
func withLimits(fields map[string]query.Field) map[string]query.Field {
	for _, name := range machine.Figures() {
		fields[name] = query.Field{SQL: "coalesce((h.limits->>'" + name + "')::int, 0)", Type: query.Int}
	}
	for _, name := range []string{"nesting", "hot_plug", "live_resize"} {
		fields[name] = query.Field{SQL: "coalesce((h.limits->>'" + name + "')::boolean, false)", Type: query.Bool}
	}
	return fields
}

// own returns the scope of the hosts of owner, of all for owner 0.
func own(owner int32) query.Scope {
	scope := listing.Own("h.account_id", owner)
	scope.Fields = []string{"account"}
	return scope
}

// page returns a page of the hosts of owner, of all for owner 0.
func page(ctx context.Context, db *unit.DB, q *querypb.Query, owner int32) (query.Rows[item], error) {
	return query.Read[item](ctx, db.Lists, hostList, q, own(owner))
}

// find returns one host of owner, of all for owner 0.
func find(ctx context.Context, db *unit.DB, id, owner int32) (item, error) {
	rows, err := db.Query(ctx, hostList.Row(`h.id = $2 AND ($1 = 0 OR h.account_id = $1)`), owner, id)
	return pg.One[item](rows, err, pg.Missing("host", id))
}
