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
	account, token, err := s.login(ctx, r.GetEmail(), r.GetPassword())
	if err != nil {
		return nil, err
	}
	return &authpb.Token{Id: account, Token: token, Confirmed: true}, nil
}

// CreateLegacySession is CreateSession for older clients.
func (s *Server) CreateLegacySession(ctx context.Context, r *authpb.CreateLegacySessionRequest) (*authpb.LegacySession, error) {
	account, token, err := s.login(ctx, r.GetEmail(), r.GetPassword())
	if err != nil {
		return nil, err
	}
	return legacy(account, token), nil
}

func (s *Server) login(ctx context.Context, email, password string) (account int32, token string, err error) {
	email, err = domain.LoginEmail(email)
	if err != nil {
		return 0, "", err
	}
	if err := domain.CheckPassword(password); err != nil {
		return 0, "", err
	}
	leave, err := s.passwords.Enter()
	if err != nil {
		return 0, "", err
	}
	defer leave()
	counters := domain.Counters(email, clientIP(ctx))
	if err := s.store.CountGuess(ctx, counters); err != nil {
		return 0, "", err
	}
	a, err := s.store.AccountByEmail(ctx, email)
	if err != nil && !isNotFound(err) {
		return 0, "", err
	}
	ok, stale, err := s.passwords.Check(ctx, password, a.PasswordHash)
	if err != nil {
		return 0, "", err
	}
	if !ok || a.State != domain.Active {
		return 0, "", domain.ErrInvalidPassword
	}
	if stale {
		s.rehash(ctx, a, password)
	}
	token, err = s.openSession(ctx, a, counters)
	return a.ID, token, err
}

func (s *Server) openSession(ctx context.Context, a domain.Account, counters []domain.Counter) (string, error) {
	token := domain.NewToken(a.ID)
	hash, err := domain.HashToken(token)
	if err != nil {
		return "", err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		if err := tx.ForgetGuesses(ctx, counters); err != nil {
			return err
		}
		return tx.OpenSession(ctx, a, hash)
	})
	return token, err
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
