package server

import (
	"context"

	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// CreateSession logs in. Whether the account is unknown, suspended or has another password, the same is done and said.
func (s *Server) CreateSession(ctx context.Context, r *authpb.CreateSessionRequest) (*authpb.Token, error) {
	email, err := domain.LoginEmail(r.GetEmail())
	if err != nil {
		return nil, err
	}
	if err := domain.CheckPassword(r.GetPassword()); err != nil {
		return nil, err
	}
	leave, err := s.passwords.Enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	counters := domain.Counters(email, clientIP(ctx))
	if err := s.store.CountGuess(ctx, counters); err != nil {
		return nil, err
	}
	a, err := s.store.AccountByEmail(ctx, email)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	ok, stale, err := s.passwords.Check(ctx, r.GetPassword(), a.PasswordHash)
	if err != nil {
		return nil, err
	}
	if !ok || a.State != domain.Active {
		return nil, domain.ErrInvalidPassword
	}
	if stale {
		s.rehash(ctx, a, r.GetPassword())
	}
	return s.openSession(ctx, a, counters)
}

func (s *Server) openSession(ctx context.Context, a domain.Account, counters []domain.Counter) (*authpb.Token, error) {
	token := domain.NewToken(a.ID)
	hash, err := domain.HashToken(token)
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		if err := tx.ForgetGuesses(ctx, counters); err != nil {
			return err
		}
		return tx.OpenSession(ctx, a.ID, hash)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.Token{Id: a.ID, Token: token, Confirmed: true}, nil
}

// rehash is a courtesy: the login goes on without it.
func (s *Server) rehash(ctx context.Context, a domain.Account, password string) {
	if hash, err := s.passwords.Hash(ctx, password); err == nil {
		_ = s.store.InTx(ctx, func(tx store.Tx) error { return tx.SetPasswordHash(ctx, a.ID, a.PasswordHash, hash) })
	}
}

// clientIP believes the gateway and nobody else.
func clientIP(ctx context.Context) string {
	if rpc.CallerOf(ctx) != "gateway" {
		return ""
	}
	if v := metadata.ValueFromIncomingContext(ctx, rpc.ClientIPKey); len(v) > 0 {
		return v[0]
	}
	return ""
}

func isNotFound(err error) bool {
	f, ok := fault.From(err)
	return ok && f.Is(fault.NotFound)
}
