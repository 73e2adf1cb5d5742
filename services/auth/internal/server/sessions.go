package server

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// ListTokens lists what the caller may be logged in with.
func (s *Server) ListTokens(ctx context.Context, r *authpb.ListTokensRequest) (*authpb.ListTokensResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.store.Tokens(ctx, r.GetQuery(), me.AccountID, s.TokenTTL)
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListTokensResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.TokenInfo, len(l.Rows))}
	for i, t := range l.Rows {
		resp.List[i] = tokenInfo(t)
	}
	return resp, nil
}

// DeleteToken ends a token of the caller, or of anybody when the caller is an administrator.
func (s *Server) DeleteToken(ctx context.Context, r *authpb.DeleteTokenRequest) (*authpb.DeleteTokenResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	owner := me.AccountID
	if me.Admin() { // a read-only administrator reaches all, but to look
		owner = 0
	}
	id, hash := tokenName(r.GetToken())
	err = s.store.InTx(ctx, func(tx store.Tx) error { return tx.DeleteToken(ctx, owner, id, hash) })
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteTokenResponse{}, nil
}

// GetSelfSession describes the token that the call came with.
func (s *Server) GetSelfSession(ctx context.Context, _ *authpb.GetSelfSessionRequest) (*authpb.TokenInfo, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	t, err := s.store.Token(ctx, me.AccountID, me.SessionID, s.TokenTTL)
	if err != nil {
		return nil, err
	}
	return tokenInfo(t), nil
}

// DeleteSelfSession ends the token that the call came with.
func (s *Server) DeleteSelfSession(ctx context.Context, _ *authpb.DeleteSelfSessionRequest) (*authpb.DeleteSelfSessionResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error { return tx.DeleteToken(ctx, me.AccountID, me.SessionID, nil) })
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteSelfSessionResponse{}, nil
}

// tokenName reads how a path names a token. No token has the id 0 or no hash.
func tokenName(text string) (id int32, hash []byte) {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return int32(n), nil
	}
	hash, err := domain.HashToken(text)
	if err != nil {
		return 0, nil
	}
	return 0, hash
}

func tokenInfo(t domain.TokenInfo) *authpb.TokenInfo {
	info := &authpb.TokenInfo{
		Id: t.ID, AccountId: t.AccountID, Kind: t.Kind, Description: t.Description,
		LastUsed: dateTime(t.LastUsed), Created: dateTime(t.CreatedAt),
	}
	if t.ExpiresAt != nil {
		info.ExpiresAt = wrapperspb.String(dateTime(*t.ExpiresAt))
	}
	if t.ValidUntil != nil {
		info.ValidUntil = wrapperspb.String(dateTime(*t.ValidUntil))
	}
	return info
}

func dateTime(t time.Time) string { return t.UTC().Format(time.DateTime) }
