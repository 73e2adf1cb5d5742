package audit

import (
	"context"
	"time"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/unit"
)

// Write stores a record: of a call of auth's own, or of another service's, with the id of the event that brought it.
// The same event again changes nothing.
func Write(ctx context.Context, tx *unit.Tx, event string, r *auditpb.Record) error {
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
