package audit

import (
	"context"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/schema"
)

const columns = `id, event_id::text AS event_id, at, service, action, actor_id, actor, session_id, object_type, object_id,
	result, reason, client_ip, request_id, before::text AS before, after::text AS after`

var records = query.List{
	From: "audit", Columns: columns, LastNotify: schema.LastNotify, Newest: true,
	Fields: map[string]query.Field{
		"id":          {SQL: "id", Type: query.Int},
		"time":        {SQL: "at", Type: query.Time},
		"service":     {SQL: "service", Type: query.Text},
		"action":      {SQL: "action", Type: query.Text},
		"actor_id":    {SQL: "actor_id", Type: query.Int},
		"actor":       {SQL: "actor", Type: query.Text},
		"session_id":  {SQL: "session_id", Type: query.Int},
		"object_type": {SQL: "object_type", Type: query.Text},
		"object_id":   {SQL: "object_id", Type: query.Text},
		"result":      {SQL: "result", Type: query.Text},
		"reason":      {SQL: "reason", Type: query.Text},
		"client_ip":   {SQL: "client_ip", Type: query.Text},
		"request_id":  {SQL: "request_id", Type: query.Text},
	},
}

const onlyActor = `$1::integer = 0 OR actor_id = $1`

// list returns records, the newest first. only is the actor whose records may be seen, 0 for all.
func list(ctx context.Context, db *unit.DB, q *querypb.Query, only int32) (query.Rows[record], error) {
	return query.Read[record](ctx, db.Lists, records, q, query.Scope{SQL: onlyActor, Args: []any{only}})
}
