package server

import (
	"context"
	"errors"
	"strings"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// CreateSession logs in. Whether the account is unknown, suspended or has another password, the same is done and said.
func (s *Server) CreateSession(ctx context.Context, r *authpb.CreateSessionRequest) (*authpb.Token, error) {
	account, token, err := s.login(ctx, r.GetEmail(), r.GetPassword(), r.GetTotp())
	if err != nil {
		return nil, err
	}
	return &authpb.Token{Id: account, Token: token, Confirmed: true}, nil
}

// CreateLegacySession is CreateSession for older clients.
func (s *Server) CreateLegacySession(ctx context.Context, r *authpb.CreateLegacySessionRequest) (*authpb.LegacySession, error) {
	account, token, err := s.login(ctx, r.GetEmail(), r.GetPassword(), r.GetTotp())
	if err != nil {
		return nil, err
	}
	return legacy(account, token), nil
}

func (s *Server) login(ctx context.Context, email, password, code string) (account int32, token string, err error) {
	a, err := s.logIn(ctx, email, password, code, func(tx store.Tx, a domain.Account) error {
		token = domain.NewToken(a.ID)
		hash, err := domain.HashToken(token)
		if err != nil {
			return err
		}
		_, err = tx.OpenSession(ctx, a, domain.Opening{Hash: hash, Method: domain.ByPassword, Client: client(ctx)})
		return err
	})
	return a.ID, token, err
}

// logIn finds out whether somebody may log in, and then opens a session of any kind.
func (s *Server) logIn(ctx context.Context, email, password, code string, open func(store.Tx, domain.Account) error) (domain.Account, error) {
	email, err := domain.LoginEmail(email)
	if err != nil {
		return domain.Account{}, err
	}
	if err := domain.CheckPassword(password); err != nil {
		return domain.Account{}, err
	}
	a, guess, err := s.proven(ctx, email, password)
	if err != nil {
		return a, err
	}
	if a.TOTP && strings.TrimSpace(code) == "" {
		// Not more than this login is given back: whoever knows the password alone must not start the count of codes anew.
		return a, s.noGuess(ctx, guess, domain.ErrTOTPRequired)
	}
	// The code is taken in the unit of work that makes the session: it is used up with it, and not without.
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		if err := open(tx, a); err != nil {
			return err
		}
		if a.TOTP {
			if err := s.useCode(ctx, tx, a.ID, code); err != nil {
				return err
			}
		}
		return tx.ForgetGuesses(ctx, guess)
	})
	if errors.Is(err, domain.ErrInvalidCode) {
		err = domain.ErrInvalidPassword
	}
	return a, err
}

// proven finds the account that has this e-mail and password, at the same cost when there is none. It is counted as a failed
// login by then; who makes something of it forgets that again.
func (s *Server) proven(ctx context.Context, email, password string) (domain.Account, []domain.Counter, error) {
	leave, err := s.passwords.Enter()
	if err != nil {
		return domain.Account{}, nil, err
	}
	defer leave()
	guess := domain.Counters(email, rpc.ClientIP(ctx))
	if err := s.store.CountGuess(ctx, guess); err != nil {
		return domain.Account{}, nil, err
	}
	audit.Of(ctx).Keep() // guesses are counted, so their records cannot fill the disk
	a, err := s.store.AccountByEmail(ctx, email)
	if err != nil && !isNotFound(err) {
		return a, nil, err
	}
	// What was typed for an e-mail that no account has may be a password: it is not recorded.
	audit.Of(ctx).Actor(a.ID, a.Email)
	audit.Of(ctx).Object("user", a.ID)
	ok, stale, err := s.passwords.Check(ctx, password, a.PasswordHash)
	if err != nil {
		return a, nil, err
	}
	if !ok || a.State != domain.Active {
		return a, nil, domain.ErrInvalidPassword
	}
	if stale {
		s.rehash(ctx, a, password)
	}
	return a, guess, nil
}

// noGuess gives back what proven counted, where the answer is err and nothing was wrong with the secret.
func (s *Server) noGuess(ctx context.Context, guess []domain.Counter, err error) error {
	if back := s.store.Aside(ctx, func(tx store.Tx) error { return tx.ReturnGuess(ctx, guess) }); back != nil {
		return errors.Join(err, back)
	}
	return err
}

// rehash is a courtesy: the login goes on without it.
func (s *Server) rehash(ctx context.Context, a domain.Account, password string) {
	if hash, err := s.passwords.Hash(ctx, password); err == nil {
		_ = s.store.Aside(ctx, func(tx store.Tx) error { return tx.SetPasswordHash(ctx, a.ID, a.PasswordHash, hash) })
	}
}

func isInvalid(err error) bool {
	f, ok := fault.From(err)
	return ok && f.Is(identity.ErrInvalid)
}

func isNotFound(err error) bool {
	f, ok := fault.From(err)
	return ok && f.Is(fault.NotFound)
}
