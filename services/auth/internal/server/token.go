package server

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/auth/internal/bearer"
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

// Introspect turns a credential into an identity that is good for a minute, or less when the credential ends before.
func (s *Server) Introspect(ctx context.Context, r *authpb.IntrospectRequest) (*authpb.IntrospectResponse, error) {
	l, err := s.live(ctx, r.GetToken())
	if err != nil {
		return nil, err
	}
	i := l.Account.Identity(l.Session, s.powers)
	i.Only = domain.Both(l.Own, l.Made)
	i.Limited = i.Only != nil
	text, expires, err := s.sign(i, domain.Lease(l.Left))
	if err != nil {
		return nil, err
	}
	return &authpb.IntrospectResponse{
		Identity: text, AccountId: l.Account.ID, SessionId: l.Session, ExpiresAt: timestamppb.New(expires),
	}, nil
}

// live looks up what a client came with.
func (s *Server) live(ctx context.Context, text string) (store.Live, error) {
	if !bearer.Is(text) {
		hash, err := domain.HashToken(text)
		if err != nil {
			return store.Live{}, err
		}
		return s.store.Use(ctx, hash, s.TokenTTL, rpc.ClientIP(ctx))
	}
	t, err := s.bearer.Read(ctx, text)
	if err != nil {
		return store.Live{}, err
	}
	l, err := s.store.UseSession(ctx, t.Session, s.TokenTTL, rpc.ClientIP(ctx))
	if err != nil || l.Account.ID != t.Account {
		return l, cmp.Or(err, error(identity.ErrInvalid))
	}
	if left := t.Expires.Sub(s.Now()); l.Left == nil || left < *l.Left {
		l.Left = &left
	}
	return l, nil
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
