package session

import (
	"context"
	"errors"
	"strings"
	"time"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/bearer"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/credential/secret"
	"slipway.dev/services/auth/internal/mfa"
	"slipway.dev/services/auth/internal/password"
)

// Sessions answers the rpcs of SessionService, and those of TokenService that log in.
type Sessions struct {
	db        *unit.DB
	passwords *password.Passwords
	mfa       *mfa.MFA
	bearer    *bearer.Writer
	ttl       time.Duration
	now       func() time.Time
}

// New makes a Sessions. ttl is how long a session may be unused where token_ttl was never set.
func New(db *unit.DB, p *password.Passwords, m *mfa.MFA, b *bearer.Writer, ttl time.Duration, now func() time.Time) *Sessions {
	return &Sessions{db, p, m, b, ttl, now}
}

// CreateSession logs in. The work and the answer are the same for an account that is unknown, suspended or has
// another password.
func (s *Sessions) CreateSession(ctx context.Context, r *authpb.CreateSessionRequest) (*authpb.Token, error) {
	id, token, err := s.openByPassword(ctx, r.GetEmail(), r.GetPassword(), r.GetTotp())
	if err != nil {
		return nil, err
	}
	return &authpb.Token{Id: id, Token: token, Confirmed: true}, nil
}

// CreateLegacySession is CreateSession for older clients.
func (s *Sessions) CreateLegacySession(ctx context.Context, r *authpb.CreateLegacySessionRequest) (*authpb.LegacySession, error) {
	id, token, err := s.openByPassword(ctx, r.GetEmail(), r.GetPassword(), r.GetTotp())
	if err != nil {
		return nil, err
	}
	return &authpb.LegacySession{Id: id, Session: token, Token: token, Confirmed: true}, nil
}

// openByPassword opens a session that ends by disuse.
func (s *Sessions) openByPassword(ctx context.Context, email, password, code string) (id int32, token string, err error) {
	a, err := s.LogIn(ctx, email, password, code, func(tx *unit.Tx, a account.Account) error {
		token = secret.NewToken(a.ID)
		hash, err := secret.Hash(token)
		if err != nil {
			return err
		}
		_, err = credential.Open(ctx, tx, a, credential.Opening{
			Hash: hash, Method: ByPassword, Client: credential.ClientOf(ctx),
		})
		return err
	})
	return a.ID, token, err
}

// LogIn proves the password and, where the account has a second factor, the code. Then open makes a session of any
// kind.
func (s *Sessions) LogIn(
	ctx context.Context, email, pass, code string, open func(*unit.Tx, account.Account) error,
) (account.Account, error) {
	email, err := account.ParseEmail(email)
	if err != nil {
		return account.Account{}, err
	}
	if err := password.Check(pass); err != nil {
		return account.Account{}, err
	}
	a, counted, err := s.passwords.Prove(ctx, email, pass)
	if err != nil {
		return a, err
	}
	if a.TOTP && strings.TrimSpace(code) == "" {
		// Only this login is given back: a client that knows the password alone must not start the count of codes anew.
		return a, counted.Return(ctx, mfa.ErrRequired)
	}
	// The code is used up in the unit of work that makes the session: both commit, or neither.
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := open(tx, a); err != nil {
			return err
		}
		if a.TOTP {
			if err := s.mfa.UseCode(ctx, tx, a.ID, code); err != nil {
				return err
			}
		}
		return counted.Forget(ctx, tx)
	})
	if errors.Is(err, mfa.ErrInvalidCode) {
		err = password.ErrWrong
	}
	return a, err
}
