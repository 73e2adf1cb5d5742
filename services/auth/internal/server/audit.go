package server

import (
	"context"
	"encoding/hex"
	"strconv"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/auth/internal/domain"
)

// ListAudit lists what was recorded of whom the caller may see.
func (s *Server) ListAudit(ctx context.Context, r *authpb.ListAuditRequest) (*authpb.ListAuditResponse, error) {
	only, err := visible(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.store.Records(ctx, r.GetQuery(), only)
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListAuditResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.AuditRecord, len(l.Rows))}
	for i, rec := range l.Rows {
		resp.List[i] = record(rec)
	}
	return resp, nil
}

// VerifyAudit walks the chain.
func (s *Server) VerifyAudit(ctx context.Context, r *authpb.VerifyAuditRequest) (*authpb.VerifyAuditResponse, error) {
	known, err := notedHead(r)
	if err != nil {
		return nil, err
	}
	v, err := s.store.Verify(ctx, known)
	if err != nil {
		return nil, err
	}
	resp := &authpb.VerifyAuditResponse{
		Intact: v.Intact, Reason: v.Reason, Unsealed: v.Unsealed,
		Seq: strconv.FormatInt(v.Head.Seq, 10), Hash: hex.EncodeToString(v.Head.Hash),
	}
	if v.Broken != 0 {
		resp.Broken = strconv.FormatInt(v.Broken, 10)
	}
	return resp, nil
}

func notedHead(r *authpb.VerifyAuditRequest) (domain.Head, error) {
	var seq int64
	var err error
	if r.GetSeq() != "" {
		if seq, err = strconv.ParseInt(r.GetSeq(), 10, 64); err != nil {
			return domain.Head{}, fault.Invalid.With("%.20q is not a number", r.GetSeq()).On("seq")
		}
	}
	hash, err := hex.DecodeString(r.GetHash())
	if err != nil {
		return domain.Head{}, fault.Invalid.With("expected hexadecimal digits").On("hash")
	}
	return domain.NotedHead(seq, hash)
}

func record(r domain.Record) *authpb.AuditRecord {
	p := &authpb.AuditRecord{
		Id: strconv.FormatInt(r.ID, 10), Time: dateTime(r.At), Service: r.Service, Action: r.Action,
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
