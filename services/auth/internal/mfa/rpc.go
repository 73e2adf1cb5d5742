package mfa

import (
	"context"
	"errors"
	"time"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/guess"
	"slipway.dev/services/auth/internal/password"
	"slipway.dev/services/auth/internal/seal"
)

// MFA answers the rpcs of TOTPService that the account's owner calls, and checks codes.
type MFA struct {
	db        *unit.DB
	access    caller.Access
	passwords *password.Passwords
	box       *seal.Box
	now       func() time.Time
}

// New makes an MFA. b seals the secrets of second factors.
func New(db *unit.DB, x caller.Access, p *password.Passwords, b *seal.Box, now func() time.Time) *MFA {
	return &MFA{db, x, p, b, now}
}

// CreateTOTP offers the caller a second factor.
func (s *MFA) CreateTOTP(ctx context.Context, r *authpb.CreateTOTPRequest) (*authpb.CreateTOTPResponse, error) {
	if err := password.Check(r.GetPassword()); err != nil {
		return nil, err
	}
	a, counted, err := s.passwords.ProveMe(ctx, r.GetPassword())
	if err != nil {
		return nil, err
	}
	secret, uri, err := newSecret(a.Email)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		if _, err := s.access.LoadMe(ctx, tx); err != nil {
			return err
		}
		if err := offer(ctx, tx, a.ID, s.box.Seal([]byte(secret), place(a.ID))); err != nil {
			return err
		}
		return counted.Forget(ctx, tx)
	})
	if err != nil {
		return nil, counted.Return(ctx, err)
	}
	return &authpb.CreateTOTPResponse{Secret: secret, Uri: uri}, nil
}

// ConfirmTOTP makes the caller's second factor count.
func (s *MFA) ConfirmTOTP(ctx context.Context, r *authpb.ConfirmTOTPRequest) (*authpb.ConfirmTOTPResponse, error) {
	var codes []string
	err := s.guarded(ctx, func(tx *unit.Tx, a *account.Account) error {
		f, err := s.open(ctx, tx, a.ID)
		if err != nil {
			return err
		}
		if f.confirmed {
			return errActive
		}
		step, ok := f.step(r.GetCode(), s.now())
		if !ok {
			return ErrInvalidCode
		}
		if err := confirm(ctx, tx, a.ID, step); err != nil {
			return err
		}
		add(a)
		if err := account.Save(ctx, tx, *a); err != nil {
			return err
		}
		codes, err = replaceRecoveryCodes(ctx, tx, a.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &authpb.ConfirmTOTPResponse{RecoveryCodes: codes}, nil
}

// GetTOTP returns whether the caller has a second factor, and how many recovery codes are left.
func (s *MFA) GetTOTP(ctx context.Context, _ *authpb.GetTOTPRequest) (*authpb.GetTOTPResponse, error) {
	a, err := s.access.Me(ctx)
	if err != nil {
		return nil, err
	}
	left, err := recoveryCodes(ctx, s.db, a.ID)
	if err != nil {
		return nil, err
	}
	return &authpb.GetTOTPResponse{Totp: a.TOTP, RecoveryCodes: left}, nil
}

// CreateRecoveryCodes replaces the caller's recovery codes.
func (s *MFA) CreateRecoveryCodes(ctx context.Context, r *authpb.CreateRecoveryCodesRequest) (*authpb.CreateRecoveryCodesResponse, error) {
	var codes []string
	err := s.guarded(ctx, func(tx *unit.Tx, a *account.Account) error {
		err := s.UseCode(ctx, tx, a.ID, r.GetCode())
		if err != nil {
			return err
		}
		codes, err = replaceRecoveryCodes(ctx, tx, a.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &authpb.CreateRecoveryCodesResponse{RecoveryCodes: codes}, nil
}

// DeleteTOTP switches the caller's second factor off.
func (s *MFA) DeleteTOTP(ctx context.Context, r *authpb.DeleteTOTPRequest) (*authpb.DeleteTOTPResponse, error) {
	err := s.guarded(ctx, func(tx *unit.Tx, a *account.Account) error {
		if err := s.UseCode(ctx, tx, a.ID, r.GetCode()); err != nil {
			return err
		}
		return Delete(ctx, tx, a.ID)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteTOTPResponse{}, nil
}

// guarded runs a unit of work on the caller's account that fails with ErrInvalidCode on a wrong code. A wrong code
// counts as a failed login, also when many come at the same time.
func (s *MFA) guarded(ctx context.Context, do func(tx *unit.Tx, a *account.Account) error) error {
	me, err := s.access.Me(ctx)
	if err != nil {
		return err
	}
	counted, err := guess.Count(ctx, s.db, me.Email, rpc.ClientIP(ctx))
	if err != nil {
		return err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		a, err := s.access.LoadMe(ctx, tx)
		if err != nil {
			return err
		}
		if err := do(tx, &a); err != nil {
			return err
		}
		return counted.Forget(ctx, tx)
	})
	if err == nil || errors.Is(err, ErrInvalidCode) {
		return err
	}
	return counted.Return(ctx, err)
}

// UseCode uses up a code of the account's app, or a recovery code. ErrInvalidCode: it is neither.
func (s *MFA) UseCode(ctx context.Context, tx *unit.Tx, account int32, code string) error {
	f, err := s.open(ctx, tx, account)
	if err != nil {
		return err
	}
	if !f.confirmed {
		return ErrInactive
	}
	if hash, ok := recoveryHash(account, code); ok {
		return useRecoveryCode(ctx, tx, account, hash)
	}
	step, ok := f.step(code, s.now())
	if !ok {
		return ErrInvalidCode
	}
	return useStep(ctx, tx, account, step)
}

// open loads an account's second factor and opens its secret.
func (s *MFA) open(ctx context.Context, tx *unit.Tx, account int32) (factor, error) {
	f, sealed, err := load(ctx, tx, account)
	if err != nil {
		return f, err
	}
	secret, err := s.box.Open(sealed, place(account))
	f.secret = string(secret)
	return f, err
}

func replaceRecoveryCodes(ctx context.Context, tx *unit.Tx, account int32) ([]string, error) {
	codes, hashes := newRecoveryCodes(account)
	return codes, setRecoveryCodes(ctx, tx, account, hashes)
}
