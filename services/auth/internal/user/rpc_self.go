package user

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/password"
)

// SetSelfPassword gives the caller another password.
func (s *Users) SetSelfPassword(ctx context.Context, r *authpb.SetSelfPasswordRequest) (*authpb.SetSelfPasswordResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	if password.Check(r.GetOldPassword()) != nil {
		return nil, fault.Invalid.With("the current password is required").On("old_password")
	}
	if err := s.passwords.CheckNew(ctx, r.GetPassword()); err != nil {
		return nil, err
	}
	was, counted, err := s.passwords.ProveMe(ctx, r.GetOldPassword())
	if err != nil {
		return nil, err
	}
	hash, err := s.passwords.Hash(ctx, r.GetPassword())
	if err != nil {
		return nil, counted.Return(ctx, err)
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		a, err := s.access.LoadMe(ctx, tx)
		if err != nil {
			return err
		}
		if a.Epoch != was.Epoch {
			return password.ErrWrong // the password has changed since it was proven
		}
		setPassword(&a, hash)
		if err := account.Save(ctx, tx, a); err != nil {
			return err
		}
		if err := counted.Forget(ctx, tx); err != nil {
			return err
		}
		return credential.End(ctx, tx, a.ID, true, me.SessionID)
	})
	if err != nil {
		return nil, counted.Return(ctx, err)
	}
	return &authpb.SetSelfPasswordResponse{Id: me.AccountID}, nil
}

// UpdateSelf changes what the caller's account says of its owner.
func (s *Users) UpdateSelf(ctx context.Context, r *authpb.UpdateSelfRequest) (*authpb.UpdateSelfResponse, error) {
	e := edit{fullName: r.FullName, lang: r.Lang, phoneNumber: r.PhoneNumber}
	var id int32
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		a, err := s.access.LoadMe(ctx, tx)
		if err != nil {
			return err
		}
		id = a.ID
		if err := e.describe(&a); err != nil {
			return err
		}
		return account.Save(ctx, tx, a)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.UpdateSelfResponse{Id: id}, nil
}
