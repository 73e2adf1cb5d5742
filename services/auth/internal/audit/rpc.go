package audit

import (
	"context"
	"encoding/hex"
	"strconv"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/stamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/caller"
)

// Log answers the rpcs of AuditService.
type Log struct{ db *unit.DB }

// New makes a Log.
func New(db *unit.DB) *Log { return &Log{db} }

// ListAudit lists the records of accounts that the caller may see.
func (s *Log) ListAudit(ctx context.Context, r *authpb.ListAuditRequest) (*authpb.ListAuditResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	l, err := list(ctx, s.db, r.GetQuery(), caller.Sees(me))
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListAuditResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.AuditRecord, len(l.Rows))}
	for i, rec := range l.Rows {
		resp.List[i] = show(rec)
	}
	return resp, nil
}

// VerifyAudit walks the chain.
func (s *Log) VerifyAudit(ctx context.Context, r *authpb.VerifyAuditRequest) (*authpb.VerifyAuditResponse, error) {
	known, err := notedHead(r)
	if err != nil {
		return nil, err
	}
	v, err := verify(ctx, s.db, known)
	if err != nil {
		return nil, err
	}
	resp := &authpb.VerifyAuditResponse{
		Intact: v.intact, Reason: v.reason, Unsealed: v.unsealed,
		Seq: strconv.FormatInt(v.last.seq, 10), Hash: hex.EncodeToString(v.last.hash),
	}
	if v.broken != 0 {
		resp.Broken = strconv.FormatInt(v.broken, 10)
	}
	return resp, nil
}

// notedHead reads a head that was noted before.
func notedHead(r *authpb.VerifyAuditRequest) (head, error) {
	var seq int64
	var err error
	if r.GetSeq() != "" {
		if seq, err = strconv.ParseInt(r.GetSeq(), 10, 64); err != nil {
			return head{}, fault.Invalid.With("%.20q is not a number", r.GetSeq()).On("seq")
		}
	}
	hash, err := hex.DecodeString(r.GetHash())
	if err != nil {
		return head{}, fault.Invalid.With("expected hexadecimal digits").On("hash")
	}
	return newHead(seq, hash)
}

func show(r record) *authpb.AuditRecord {
	p := &authpb.AuditRecord{
		Id: strconv.FormatInt(r.ID, 10), Time: stamp.Text(r.At), Service: r.Service, Action: r.Action,
		ActorId: r.ActorID, Actor: r.Actor, SessionId: r.SessionID, ObjectType: r.ObjectType, ObjectId: r.ObjectID,
		Result: r.Result, Reason: r.Reason, ClientIp: r.ClientIP, RequestId: r.RequestID,
	}
	if r.Before != nil {
		p.Before = *r.Before
	}
	if r.After != nil {
		p.After = *r.After
	}
	return p
}
