package user

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/mfa"
	"slipway.dev/services/auth/internal/role"
)

// UpdateUser changes the parts of an account that the request names.
func (s *Users) UpdateUser(ctx context.Context, r *authpb.UpdateUserRequest) (*authpb.UpdateUserResponse, error) {
	e := edit{
		roles: r.GetRoles(), email: r.Email, fullName: r.FullName, lang: r.Lang, phoneNumber: r.PhoneNumber, note: r.Note,
	}
	if err := e.checkRoles(); err != nil {
		return nil, err
	}
	err := s.access.Administer(ctx, r.GetId(), func(tx *unit.Tx, by identity.Identity, a *account.Account) error {
		if err := role.CheckGrant(ctx, tx, s.powers, by, "roles", e.roles); err != nil {
			return err
		}
		return save(ctx, tx, a, e.apply)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.UpdateUserResponse{Id: r.GetId()}, nil
}

// SuspendUser keeps an account from logging in.
func (s *Users) SuspendUser(ctx context.Context, r *authpb.SuspendUserRequest) (*authpb.SuspendUserResponse, error) {
	err := s.change(ctx, r.GetId(), suspend)
	if err != nil {
		return nil, err
	}
	return &authpb.SuspendUserResponse{Id: r.GetId()}, nil
}

// ResumeUser lets an account log in again.
func (s *Users) ResumeUser(ctx context.Context, r *authpb.ResumeUserRequest) (*authpb.ResumeUserResponse, error) {
	err := s.change(ctx, r.GetId(), resume)
	if err != nil {
		return nil, err
	}
	return &authpb.ResumeUserResponse{Id: r.GetId()}, nil
}

// SetUserPassword gives an account another password.
func (s *Users) SetUserPassword(ctx context.Context, r *authpb.SetUserPasswordRequest) (*authpb.SetUserPasswordResponse, error) {
	if err := s.passwords.CheckNew(ctx, r.GetPassword()); err != nil {
		return nil, err
	}
	hash, err := s.passwords.Hash(ctx, r.GetPassword())
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, r.GetId(), func(a *account.Account) ends { return setPassword(a, hash) })
	if err != nil {
		return nil, err
	}
	return &authpb.SetUserPasswordResponse{Id: r.GetId()}, nil
}

// change applies a change to an account that the caller may change.
func (s *Users) change(ctx context.Context, id int32, apply func(a *account.Account) ends) error {
	return s.access.Administer(ctx, id, func(tx *unit.Tx, _ identity.Identity, a *account.Account) error {
		return save(ctx, tx, a, func(a *account.Account) (ends, error) { return apply(a), nil })
	})
}

// save applies a change to an account, stores it and ends the credentials that the change ends.
func save(ctx context.Context, tx *unit.Tx, a *account.Account, apply func(a *account.Account) (ends, error)) error {
	was := *a
	e, err := apply(a)
	if err != nil {
		return err
	}
	if err := account.KeepAdmin(ctx, tx, was, *a); err != nil {
		return err
	}
	audit.Of(ctx).Change(record(was), record(*a))
	if err := account.Save(ctx, tx, *a); err != nil || e == endsNothing {
		return err
	}
	return credential.End(ctx, tx, a.ID, e == endsTokens, 0)
}

// record returns what the audit log keeps of an account.
func record(a account.Account) map[string]any {
	return map[string]any{
		"email": a.Email, "roles": a.Roles, "state": a.State, "totp": a.TOTP,
		"full_name": a.FullName, "lang": a.Lang, "phone_number": a.PhoneNumber,
	}
}

// ResetTOTP removes the second factor of another account.
func (s *Users) ResetTOTP(ctx context.Context, r *authpb.ResetTOTPRequest) (*authpb.ResetTOTPResponse, error) {
	a, err := s.access.Named(ctx, r.GetUser())
	if err != nil {
		return nil, err
	}
	err = s.access.Administer(ctx, a.ID, func(tx *unit.Tx, by identity.Identity, a *account.Account) error {
		was := *a
		e, err := resetMFA(a, by.AccountID)
		if err != nil {
			return err
		}
		audit.Of(ctx).Object("user", a.ID)
		audit.Of(ctx).Change(record(was), record(*a))
		if err := mfa.Delete(ctx, tx, a.ID); err != nil {
			return err
		}
		if err := account.Save(ctx, tx, *a); err != nil {
			return err
		}
		return credential.End(ctx, tx, a.ID, e == endsTokens, 0)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.ResetTOTPResponse{Id: a.ID}, nil
}
