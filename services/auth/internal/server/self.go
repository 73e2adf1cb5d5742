package server

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// SetSelfPassword gives the caller another password.
func (s *Server) SetSelfPassword(ctx context.Context, r *authpb.SetSelfPasswordRequest) (*authpb.SetSelfPasswordResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if domain.CheckPassword(r.GetOldPassword()) != nil {
		return nil, fault.Invalid.With("the current password is required").On("old_password")
	}
	if err := s.newPassword(ctx, r.GetPassword()); err != nil {
		return nil, err
	}
	was, guess, err := s.provenSelf(ctx, r.GetOldPassword())
	if err != nil {
		return nil, err
	}
	hash, err := s.hash(ctx, r.GetPassword())
	if err != nil {
		return nil, s.noGuess(ctx, guess, err)
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		a, err := s.self(ctx, tx)
		if err != nil {
			return err
		}
		if a.Epoch != was.Epoch {
			return domain.ErrInvalidPassword // it is another one by now
		}
		a.SetPassword(hash)
		if err := tx.SaveAccount(ctx, a); err != nil {
			return err
		}
		if err := tx.ForgetGuesses(ctx, guess); err != nil {
			return err
		}
		return tx.EndSessions(ctx, a.ID, true, me.SessionID)
	})
	if err != nil {
		return nil, s.noGuess(ctx, guess, err)
	}
	return &authpb.SetSelfPasswordResponse{Id: me.AccountID}, nil
}

// UpdateSelf changes what the caller's account says of its owner.
func (s *Server) UpdateSelf(ctx context.Context, r *authpb.UpdateSelfRequest) (*authpb.UpdateSelfResponse, error) {
	var id int32
	err := s.store.InTx(ctx, func(tx store.Tx) error {
		a, err := s.self(ctx, tx)
		if err != nil {
			return err
		}
		id = a.ID
		if err := a.Describe(domain.Edit{FullName: r.FullName, Lang: r.Lang, PhoneNumber: r.PhoneNumber}); err != nil {
			return err
		}
		return tx.SaveAccount(ctx, a)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.UpdateSelfResponse{Id: id}, nil
}

// me reads the caller's account as it is now: an identity may be a minute old.
func (s *Server) me(ctx context.Context) (domain.Account, error) {
	me, err := caller(ctx)
	if err != nil {
		return domain.Account{}, err
	}
	return active(s.store.Account(ctx, me.AccountID))
}

// self is me for a unit of work, which holds the account.
func (s *Server) self(ctx context.Context, tx store.Tx) (domain.Account, error) {
	me, err := caller(ctx)
	if err != nil {
		return domain.Account{}, err
	}
	return active(tx.Account(ctx, me.AccountID))
}

// active refuses a caller who is gone or suspended.
func active(a domain.Account, err error) (domain.Account, error) {
	if isNotFound(err) || err == nil && a.State != domain.Active {
		return a, identity.ErrInvalid
	}
	return a, err
}

// provenSelf is proven for the caller.
func (s *Server) provenSelf(ctx context.Context, password string) (domain.Account, []domain.Counter, error) {
	a, err := s.me(ctx)
	if err != nil {
		return a, nil, err
	}
	return s.proven(ctx, a.Email, password)
}

// newPassword checks a password that is to be stored.
func (s *Server) newPassword(ctx context.Context, password string) error {
	least, err := s.store.PasswordMinLength(ctx)
	if err != nil {
		return err
	}
	return domain.CheckNewPassword(password, least)
}

// hash takes a place in the queue and hashes a new password.
func (s *Server) hash(ctx context.Context, password string) (string, error) {
	leave, err := s.passwords.Enter()
	if err != nil {
		return "", err
	}
	defer leave()
	return s.passwords.Hash(ctx, password)
}
