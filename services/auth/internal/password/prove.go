package password

import (
	"context"
	"errors"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/guess"
)

// Passwords proves, checks and hashes passwords.
type Passwords struct {
	db     *unit.DB
	access caller.Access
	hasher *hasher
}

// New makes a Passwords.
func New(db *unit.DB, x caller.Access) (*Passwords, error) {
	h, err := newHasher()
	return &Passwords{db, x, h}, err
}

// Prove finds the account that has this folded e-mail and password, at the same cost when there is none. The login is
// counted as failed by then: a caller that makes something of it forgets the guess, or returns it.
func (p *Passwords) Prove(ctx context.Context, email, password string) (account.Account, guess.Guess, error) {
	leave, err := p.hasher.enter()
	if err != nil {
		return account.Account{}, guess.Guess{}, err
	}
	defer leave()
	counted, err := guess.Count(ctx, p.db, email, rpc.ClientIP(ctx))
	if err != nil {
		return account.Account{}, counted, err
	}
	audit.Of(ctx).Keep() // guesses are counted, so their records cannot fill the disk
	a, err := account.FindByEmail(ctx, p.db, email)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return a, counted, err
	}
	// What was typed for an e-mail that no account has may be a password: it is not recorded.
	audit.Of(ctx).Actor(a.ID, a.Email)
	audit.Of(ctx).Object("user", a.ID)
	ok, stale, err := p.hasher.check(ctx, password, a.PasswordHash)
	if err != nil {
		return a, counted, err
	}
	if !ok || a.State != account.Active {
		return a, counted, ErrWrong
	}
	if stale {
		p.rehash(ctx, a, password)
	}
	return a, counted, nil
}

// ProveMe is Prove for the caller.
func (p *Passwords) ProveMe(ctx context.Context, password string) (account.Account, guess.Guess, error) {
	a, err := p.access.Me(ctx)
	if err != nil {
		return a, guess.Guess{}, err
	}
	return p.Prove(ctx, a.Email, password)
}

// rehash stores a new hash of the same password. An error is dropped: the login goes on without.
func (p *Passwords) rehash(ctx context.Context, a account.Account, password string) {
	if hash, err := p.hasher.hash(ctx, password); err == nil {
		_ = p.db.Aside(ctx, func(tx *unit.Tx) error { return account.SetPasswordHash(ctx, tx, a.ID, a.PasswordHash, hash) })
	}
}

// CheckNew checks a password that is to be stored.
func (p *Passwords) CheckNew(ctx context.Context, password string) error {
	least, err := minLength(ctx, p.db)
	if err != nil {
		return err
	}
	return checkNew(password, least)
}

// Hash takes a place in the queue and hashes a new password.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	leave, err := p.hasher.enter()
	if err != nil {
		return "", err
	}
	defer leave()
	return p.hasher.hash(ctx, password)
}

// Hashes returns how many passwords were hashed so far, for login or to be stored.
func (p *Passwords) Hashes() int64 { return p.hasher.computed.Load() }
