package tag

import (
	"context"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// item is a tag as lists show it.
type item struct {
	ID   int32
	Name string
	Note string
}

var tagList = query.List{
	From:       "tag t",
	Columns:    `t.id, t.name, t.note`,
	LastNotify: listing.Now,
	Fields: map[string]query.Field{
		"id":   {SQL: "t.id", Type: query.Int},
		"name": {SQL: "t.name", Type: query.Text},
		"note": {SQL: "t.note", Type: query.Text},
	},
}

// page returns a page of the tags.
func page(ctx context.Context, db *unit.DB, q *querypb.Query) (query.Rows[item], error) {
	return query.Read[item](ctx, db.Lists, tagList, q, query.Scope{})
}

// users counts the hosts that have a tag.
func users(ctx context.Context, tx *unit.Tx, name string) (n int, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*) FROM host WHERE tags <> '{}' AND tags @> ARRAY[$1::text]`, name).Scan(&n)
	return n, err
}
