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
	SHA256    string
	State     string
	Group     string    `db:"os_group"`
	MinRAM    int32     `db:"min_ram_mib"`
	MinDisk   int32     `db:"min_disk_mib"`
	AdminOnly bool      `db:"adminonly"`
	Comment   string    `db:"comment"`
	UpdatedAt time.Time `db:"updated_at"`
	Clusters  []int32   `db:"clusters"`
}

var osList = query.List{
	From: "os o",
	Columns: `o.id, o.name, o.sha256, o.state, o.os_group, o.min_ram_mib, o.min_disk_mib, o.adminonly, o.comment, o.updated_at,
		ARRAY(SELECT DISTINCT n.cluster_id FROM os_node x JOIN node n ON n.id = x.node_id WHERE x.os_id = o.id ORDER BY 1) AS clusters`,
	LastNotify: listing.Now,
	Fields: map[string]query.Field{
		"id":               {SQL: "o.id", Type: query.Int},
		"name":             {SQL: "o.name", Type: query.Text},
		"state":            {SQL: "o.state", Type: query.Text},
		"os_group":         {SQL: "o.os_group", Type: query.Text},
		"adminonly":        {SQL: "o.adminonly", Type: query.Bool},
		"min_ram_mib":      {SQL: "o.min_ram_mib", Type: query.Int},
		"hdd_mib_required": {SQL: "o.min_disk_mib", Type: query.Int},
		"comment":          {SQL: "o.comment", Type: query.Text},
		"updated_at":       {SQL: "o.updated_at", Type: query.Time},
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
