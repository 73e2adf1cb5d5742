package store

import (
	"context"
	"time"

	auditpb "slipway.dev/proto/audit/v1"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/domain"
)

const auditColumns = `id, event_id::text AS event_id, at, service, action, actor_id, actor, session_id, object_type, object_id,
	result, reason, client_ip, request_id, before::text AS before, after::text AS after`

var records = query.List{
	From: "audit", Columns: auditColumns, LastNotify: lastChange, Newest: true,
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

// Records lists what was recorded, the newest first. only is the actor of which may be seen, 0 for all.
func (s *Store) Records(ctx context.Context, q *querypb.Query, only int32) (query.Rows[domain.Record], error) {
	return query.Read[domain.Record](ctx, s.lists, records, q, query.Scope{SQL: onlyActor, Args: []any{only}})
}

// TakeRecord stores a record: of a call of auth's own, or of another service's, with the id of the event that brought it. The
// same event again changes nothing.
func TakeRecord(ctx context.Context, tx *unit.Tx, event string, r *auditpb.Record) error {
	at := time.Now()
	if r.GetAt().IsValid() {
		at = r.GetAt().AsTime()
	}
	return tx.Later(ctx, `
		INSERT INTO audit (event_id, at, service, action, actor_id, actor, session_id, object_type, object_id, result, reason,
			client_ip, request_id, before, after)
		VALUES (nullif($1, '')::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, nullif($14, '')::json, nullif($15, '')::json)
		ON CONFLICT ON CONSTRAINT audit_event DO NOTHING`,
		event, at, r.GetService(), r.GetAction(), r.GetActorId(), r.GetActor(), r.GetSessionId(), r.GetObjectType(), r.GetObjectId(),
		r.GetResult(), r.GetReason(), r.GetClientIp(), r.GetRequestId(), r.GetBefore(), r.GetAfter())
}
