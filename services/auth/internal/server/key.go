package server

import (
	"context"
	"strconv"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// CreateKey makes a one-time key for an account that may log in.
func (s *Server) CreateKey(ctx context.Context, r *authpb.CreateKeyRequest) (*authpb.CreateKeyResponse, error) {
	a, err := s.named(ctx, r.GetUser())
	if err != nil {
		return nil, err
	}
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	key := domain.NewKey(a.ID)
	hash, err := domain.HashKey(key)
	if err != nil {
		return nil, err
	}
	// The session of a key that a limited credential makes is limited as that is.
	limited := func(by, a identity.Identity) identity.Identity {
		a.Limited, a.Only = by.Limited, by.Only
		return a
	}
	err = s.touch(ctx, a.ID, limited, func(tx store.Tx, _ identity.Identity, a *domain.Account) error {
		if a.State != domain.Active {
			return domain.ErrSuspended
		}
		maker, err := tx.Maker(ctx, me.SessionID)
		if err != nil {
			return err
		}
		if me.Limited && maker == nil {
			return fault.Denied.With("a scoped token cannot create login keys")
		}
		audit.Of(ctx).Object("user", a.ID)
		return tx.CreateKey(ctx, a.ID, hash, maker)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.CreateKeyResponse{Id: strconv.Itoa(int(a.ID)), Key: key}, nil
}

// RedeemKey opens the session that a key stands for.
func (s *Server) RedeemKey(ctx context.Context, r *authpb.RedeemKeyRequest) (*authpb.RedeemKeyResponse, error) {
	account, token, err := s.redeem(ctx, r.GetKey())
	if err != nil {
		return nil, err
	}
	return &authpb.RedeemKeyResponse{Id: strconv.Itoa(int(account)), Token: token, Confirmed: true}, nil
}

// RedeemLegacyKey is RedeemKey for older clients.
func (s *Server) RedeemLegacyKey(ctx context.Context, r *authpb.RedeemLegacyKeyRequest) (*authpb.LegacySession, error) {
	account, token, err := s.redeem(ctx, r.GetKey())
	if err != nil {
		return nil, err
	}
	return legacy(account, token), nil
}

func (s *Server) redeem(ctx context.Context, key string) (account int32, token string, err error) {
	hash, err := domain.HashKey(key)
	if err != nil {
		return 0, "", err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		a, maker, err := tx.RedeemKey(ctx, hash)
		if err != nil {
			return err
		}
		account, token = a.ID, domain.NewToken(a.ID)
		audit.Of(ctx).Actor(a.ID, a.Email)
		audit.Of(ctx).Object("user", a.ID)
		stored, err := domain.HashToken(token)
		if err != nil {
			return err
		}
		_, err = tx.OpenSession(ctx, a, domain.Opening{Hash: stored, Method: domain.ByKey, Client: client(ctx), Maker: maker})
		return err
	})
	return account, token, err
}

// named finds an account by what stands in a path.
func (s *Server) named(ctx context.Context, text string) (domain.Account, error) {
	id, email := domain.Named(text)
	if email != "" {
		return s.store.AccountByEmail(ctx, email)
	}
	return s.store.Account(ctx, id)
}

func legacy(account int32, token string) *authpb.LegacySession {
	return &authpb.LegacySession{Id: account, Session: token, Token: token, Confirmed: true}
}
