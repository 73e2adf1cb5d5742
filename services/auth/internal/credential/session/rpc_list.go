package session

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/credential"
)

const (
	sessionPage    = 100
	maxSessionPage = 1000
)

// ListSessions lists sessions, the newest first.
func (s *Sessions) ListSessions(ctx context.Context, r *authpb.ListSessionsRequest) (*authpb.ListSessionsResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	account := r.GetAccountId()
	switch {
	case account == 0:
		account = caller.Sees(me)
	case account != me.AccountID && !me.ReachesAll():
		return nil, fault.NotFound.With("no such account")
	}
	size, before, err := page(r)
	if err != nil {
		return nil, err
	}
	rows, err := list(ctx, s.db, account, before, size+1, s.ttl)
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListSessionsResponse{}
	if len(rows) > size {
		rows = rows[:size]
		resp.NextPageToken = strconv.Itoa(int(rows[size-1].ID))
	}
	for _, i := range rows {
		resp.Sessions = append(resp.Sessions, &authpb.Session{
			Uuid: i.UUID, AccountId: i.AccountID, Email: i.Email, CreatedAt: timestamppb.New(i.CreatedAt),
			LastSeenAt: timestamppb.New(i.LastUsed), Ip: i.IP, UserAgent: i.UserAgent, AuthMethod: i.Method,
			ExpiresAt: timestamppb.New(*i.ExpiresAt), Current: i.ID == me.SessionID, Kind: i.Kind,
		})
	}
	return resp, nil
}

// page reads how many sessions to list, and before which id.
func page(r *authpb.ListSessionsRequest) (size int, before int32, err error) {
	switch n := r.GetPageSize(); {
	case n < 0 || n > maxSessionPage:
		return 0, 0, fault.Invalid.With("from 0 to %d", maxSessionPage).On("page_size")
	case n == 0:
		size = sessionPage
	default:
		size = int(n)
	}
	if r.GetPageToken() == "" {
		return size, 0, nil
	}
	n, err := strconv.ParseInt(r.GetPageToken(), 10, 32)
	if err != nil || n <= 0 {
		return 0, 0, fault.Invalid.With("not the token of a page").On("page_token")
	}
	return size, int32(n), nil
}

// KillSession ends a session.
func (s *Sessions) KillSession(ctx context.Context, r *authpb.KillSessionRequest) (*authpb.KillSessionResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	id, err := parseUUID(r.GetUuid())
	if err != nil {
		return nil, err
	}
	audit.Of(ctx).Object("session", id) // a text that is no uuid is not recorded: it may be a token
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		_, err := credential.Delete(ctx, tx, caller.Ends(me, "users.sessions"), "uuid = $2 AND "+credential.SessionSQL, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &authpb.KillSessionResponse{}, nil
}
