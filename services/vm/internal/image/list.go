package image

import (
	"context"
	"time"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// item is an OS template as lists show it.
type item struct {
	ID        int32
	Name      string
	Slug      string
	SHA256    string
	State     string
	Group     string    `db:"os_group"`
	MinRAM    int32     `db:"min_ram_mib"`
	MinDisk   int32     `db:"min_disk_mib"`
	AdminOnly bool      `db:"adminonly"`
	Comment   string    `db:"comment"`
	UpdatedAt time.Time `db:"updated_at"`
	Clusters  []place   `db:"clusters"`
	Nodes     []place   `db:"nodes"`
}

// place is a cluster or a node that has a template.
type place struct {
	ID       int32  `json:"id"`
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
}

// Title is the SQL of what people call the OS o. A template without a title is called by its slug.
const Title = `coalesce(nullif(o.title, ''), o.name)`

// What the shown version of an OS says; while no node holds the OS, what was said of it first.
const (
	group     = `coalesce(v.os_group, o.os_group)`
	minRAM    = `coalesce(v.min_ram_mib, o.min_ram_mib)`
	minDisk   = `coalesce(v.min_disk_mib, o.min_disk_mib)`
	updatedAt = `coalesce(v.since, o.updated_at)`
)

// osList shows of each OS the version that the most nodes hold, of two such versions the older one.
var osList = query.List{
	From: "os o",
	Joins: []query.Join{{Alias: "v", SQL: `LEFT JOIN LATERAL (
		SELECT x.sha256, x.os_group, x.min_ram_mib, x.min_disk_mib, min(x.since) AS since FROM os_node x
		WHERE x.os_id = o.id AND x.sha256 <> '' GROUP BY 1, 2, 3, 4 ORDER BY count(*) DESC, min(x.since), x.sha256 LIMIT 1) v ON true`}},
	Columns: `o.id, ` + Title + ` AS name, o.name AS slug, coalesce(v.sha256, o.sha256) AS sha256, o.state,
		` + group + ` AS os_group, ` + minRAM + ` AS min_ram_mib, ` + minDisk + ` AS min_disk_mib, o.adminonly, o.comment, ` + updatedAt + ` AS updated_at,
		(SELECT coalesce(jsonb_agg(p ORDER BY p.id), '[]') FROM (
			SELECT DISTINCT c.id, c.name FROM os_node x JOIN node n ON n.id = x.node_id JOIN cluster c ON c.id = n.cluster_id
			WHERE x.os_id = o.id) p) AS clusters,
		(SELECT coalesce(jsonb_agg(p ORDER BY p.id), '[]') FROM (
			SELECT n.id, n.name, n.endpoint FROM os_node x JOIN node n ON n.id = x.node_id WHERE x.os_id = o.id) p) AS nodes`,
	LastNotify: listing.Now,
	Fields: map[string]query.Field{
		"id":               {SQL: "o.id", Type: query.Int},
		"name":             {SQL: Title, Also: "o.name", Type: query.Text},
		"slug":             {SQL: "o.name", Type: query.Text},
		"state":            {SQL: "o.state", Type: query.Text},
		"os_group":         {SQL: group, Type: query.Text, Needs: "v"},
		"adminonly":        {SQL: "o.adminonly", Type: query.Bool},
		"min_ram_mib":      {SQL: minRAM, Type: query.Int, Needs: "v"},
		"hdd_mib_required": {SQL: minDisk, Type: query.Int, Needs: "v"},
		"comment":          {SQL: "o.comment", Type: query.Text},
		"updated_at":       {SQL: updatedAt, Type: query.Time, Needs: "v"},
		"clusters": {
			SQL: "m.cluster_id", Type: query.Int, Each: "os_node x JOIN node m ON m.id = x.node_id WHERE x.os_id = o.id",
		},
		"repository":   {SQL: "'local'::text", Type: query.Text},
		"is_lxd_image": {SQL: "(o.id IS NULL)", Type: query.Bool},
	},
}

// page returns a page of the templates, with those for administrators only if all is set.
func page(ctx context.Context, db *unit.DB, q *querypb.Query, all bool) (query.Rows[item], error) {
	scope := query.Scope{SQL: "NOT o.adminonly"}
	if all {
		scope = query.Scope{}
	}
	return query.Read[item](ctx, db.Lists, osList, q, scope)
}

// find returns one template, also one for administrators only if all is set.
func find(ctx context.Context, db *unit.DB, id int32, all bool) (item, error) {
	rows, err := db.Query(ctx, osList.Row(`o.id = $1 AND ($2 OR NOT o.adminonly)`), id, all)
	return pg.One[item](rows, err, pg.Missing("OS", id))
}
