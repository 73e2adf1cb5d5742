package image

import (
	"context"
	"encoding/json"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// catalogueList has no table: its rows are a parameter of the scope, so that filters of it are those of any list.
var catalogueList = query.List{
	From: `(SELECT * FROM jsonb_to_recordset($1) AS r(name text, title text, url text, checksums_url text, min_ram_mib int,
		min_disk_mib int, os_group text)) i`,
	Key: "name", LastNotify: listing.Now,
	Columns: `i.name, i.title, i.url, i.checksums_url, i.min_ram_mib AS min_ram, i.min_disk_mib AS min_disk, i.os_group AS "group"`,
	Fields: map[string]query.Field{
		"name":         {SQL: "i.name", Type: query.Text},
		"title":        {SQL: "i.title", Type: query.Text},
		"os_group":     {SQL: "i.os_group", Type: query.Text},
		"min_ram_mib":  {SQL: "i.min_ram_mib", Type: query.Int},
		"min_disk_mib": {SQL: "i.min_disk_mib", Type: query.Int},
	},
}

// catalogue returns a page of the images that can be imported.
func catalogue(ctx context.Context, db *unit.DB, q *querypb.Query) (query.Rows[image], error) {
	text, err := json.Marshal(images)
	if err != nil {
		return query.Rows[image]{}, err
	}
	return query.Read[image](ctx, db.Lists, catalogueList, q, query.Scope{SQL: "$1::jsonb IS NOT NULL", Args: []any{string(text)}})
}
