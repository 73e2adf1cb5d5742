package server

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// CreateToken makes a token for the caller, which can do what the caller can and no more.
func (s *Server) CreateToken(ctx context.Context, r *authpb.CreateTokenRequest) (*authpb.Token, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if err := domain.CheckDescription(r.GetDescription()); err != nil {
		return nil, err
	}
	var expires *time.Time
	if text := r.GetExpiresAt(); text != nil {
		t, err := domain.Expiry(text.GetValue(), s.Now())
		if err != nil {
			return nil, err
		}
		expires = &t
	}
	token := domain.NewToken(me.AccountID)
	hash, err := domain.HashToken(token)
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		return tx.CreateToken(ctx, me.AccountID, me.SessionID, hash, expires, r.GetDescription())
	})
	if err != nil {
		return nil, err
	}
	return &authpb.Token{Id: me.AccountID, Token: token, ExpiresAt: r.GetExpiresAt(), Confirmed: true}, nil
}

// Whoami reads the caller's account as it is now.
func (s *Server) Whoami(ctx context.Context, _ *authpb.WhoamiRequest) (*authpb.User, error) {
	a, err := s.me(ctx)
	if err != nil {
		return nil, err
	}
	if me, err := caller(ctx); err != nil || !me.ReachesAll() {
		a.Note = ""
	}
	return user(a), nil
}

// Introspect turns a token into an identity that is good for a minute, or less when the token ends before.
func (s *Server) Introspect(ctx context.Context, r *authpb.IntrospectRequest) (*authpb.IntrospectResponse, error) {
	hash, err := domain.HashToken(r.GetToken())
	if err != nil {
		return nil, err
	}
	l, err := s.store.Use(ctx, hash, s.TokenTTL)
	if err != nil {
		return nil, err
	}
	text, expires, err := s.Sign(l.Account, l.Session, domain.Lease(l.Left))
	if err != nil {
		return nil, err
	}
	return &authpb.IntrospectResponse{
		Identity: text, AccountId: l.Account.ID, SessionId: l.Session, ExpiresAt: timestamppb.New(expires),
	}, nil
}

// ListKeys gives the keys that verify identities.
func (s *Server) ListKeys(ctx context.Context, _ *authpb.ListKeysRequest) (*authpb.ListKeysResponse, error) {
	keys, err := s.ring.Public(ctx)
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListKeysResponse{}
	for id, key := range keys {
		resp.Keys = append(resp.Keys, &authpb.PublicKey{Id: id, Key: key})
	}
	return resp, nil
}
