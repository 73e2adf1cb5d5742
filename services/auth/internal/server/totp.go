package server

import (
	"context"
	"errors"
	"strconv"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// CreateTOTP offers the caller a second factor.
func (s *Server) CreateTOTP(ctx context.Context, r *authpb.CreateTOTPRequest) (*authpb.CreateTOTPResponse, error) {
	if err := domain.CheckPassword(r.GetPassword()); err != nil {
		return nil, err
	}
	a, guess, err := s.provenSelf(ctx, r.GetPassword())
	if err != nil {
		return nil, err
	}
	secret, uri, err := domain.NewTOTP(a.Email)
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		if _, err := s.self(ctx, tx); err != nil {
			return err
		}
		if err := tx.OfferTOTP(ctx, a.ID, s.Sealer.Seal([]byte(secret), totpOf(a.ID))); err != nil {
			return err
		}
		return tx.ForgetGuesses(ctx, guess)
	})
	if err != nil {
		return nil, s.noGuess(ctx, guess, err)
	}
	return &authpb.CreateTOTPResponse{Secret: secret, Uri: uri}, nil
}

// ConfirmTOTP makes the caller's second factor count.
func (s *Server) ConfirmTOTP(ctx context.Context, r *authpb.ConfirmTOTPRequest) (*authpb.ConfirmTOTPResponse, error) {
	var codes []string
	err := s.guess(ctx, func(tx store.Tx, a *domain.Account) error {
		f, err := s.totp(ctx, tx, a.ID)
		if err != nil {
			return err
		}
		if f.Confirmed {
			return domain.ErrTOTPActive
		}
		step, ok := f.Step(r.GetCode(), s.Now())
		if !ok {
			return domain.ErrInvalidCode
		}
		if err := tx.ConfirmTOTP(ctx, a.ID, step); err != nil {
			return err
		}
		a.AddTOTP()
		if err := tx.SaveAccount(ctx, *a); err != nil {
			return err
		}
		codes, err = newRecoveryCodes(ctx, tx, a.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &authpb.ConfirmTOTPResponse{RecoveryCodes: codes}, nil
}

// GetTOTP says what second factor the caller has.
func (s *Server) GetTOTP(ctx context.Context, _ *authpb.GetTOTPRequest) (*authpb.GetTOTPResponse, error) {
	a, err := s.me(ctx)
	if err != nil {
		return nil, err
	}
	left, err := s.store.RecoveryCodes(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	return &authpb.GetTOTPResponse{Totp: a.TOTP, RecoveryCodes: left}, nil
}

// CreateRecoveryCodes replaces the caller's recovery codes.
func (s *Server) CreateRecoveryCodes(ctx context.Context, r *authpb.CreateRecoveryCodesRequest) (*authpb.CreateRecoveryCodesResponse, error) {
	var codes []string
	err := s.guess(ctx, func(tx store.Tx, a *domain.Account) error {
		err := s.useCode(ctx, tx, a.ID, r.GetCode())
		if err != nil {
			return err
		}
		codes, err = newRecoveryCodes(ctx, tx, a.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &authpb.CreateRecoveryCodesResponse{RecoveryCodes: codes}, nil
}

// DeleteTOTP switches the caller's second factor off.
func (s *Server) DeleteTOTP(ctx context.Context, r *authpb.DeleteTOTPRequest) (*authpb.DeleteTOTPResponse, error) {
	err := s.guess(ctx, func(tx store.Tx, a *domain.Account) error {
		if err := s.useCode(ctx, tx, a.ID, r.GetCode()); err != nil {
			return err
		}
		return tx.DeleteTOTP(ctx, a.ID)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteTOTPResponse{}, nil
}

// ResetTOTP switches somebody's second factor off.
func (s *Server) ResetTOTP(ctx context.Context, r *authpb.ResetTOTPRequest) (*authpb.ResetTOTPResponse, error) {
	a, err := s.named(ctx, r.GetUser())
	if err != nil {
		return nil, err
	}
	err = s.administer(ctx, a.ID, func(tx store.Tx, by identity.Identity, a *domain.Account) error {
		was := *a
		ends, err := a.ResetTOTP(by.AccountID)
		if err != nil {
			return err
		}
		audit.Of(ctx).Object("user", a.ID)
		audit.Of(ctx).Change(accountRecord(was), accountRecord(*a))
		if err := tx.DeleteTOTP(ctx, a.ID); err != nil {
			return err
		}
		if err := tx.SaveAccount(ctx, *a); err != nil {
			return err
		}
		return tx.EndSessions(ctx, a.ID, ends == domain.EndsTokens, 0)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.ResetTOTPResponse{Id: a.ID}, nil
}

// guess runs a unit of work on the caller's account that fails with ErrInvalidCode on a wrong code. That counts as a
// failed login, also when many come at the same time.
func (s *Server) guess(ctx context.Context, do func(tx store.Tx, a *domain.Account) error) error {
	me, err := s.me(ctx)
	if err != nil {
		return err
	}
	counters := domain.Counters(me.Email, rpc.ClientIP(ctx))
	if err := s.store.CountGuess(ctx, counters); err != nil {
		return err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		a, err := s.self(ctx, tx)
		if err != nil {
			return err
		}
		if err := do(tx, &a); err != nil {
			return err
		}
		return tx.ForgetGuesses(ctx, counters)
	})
	if err == nil || errors.Is(err, domain.ErrInvalidCode) {
		return err
	}
	return s.noGuess(ctx, counters, err)
}

// useCode uses up a code of the account's app, or a recovery code.
func (s *Server) useCode(ctx context.Context, tx store.Tx, account int32, code string) error {
	f, err := s.totp(ctx, tx, account)
	if err != nil {
		return err
	}
	if !f.Confirmed {
		return domain.ErrTOTPInactive
	}
	if hash, ok := domain.RecoveryHash(account, code); ok {
		return tx.UseRecoveryCode(ctx, account, hash)
	}
	step, ok := f.Step(code, s.Now())
	if !ok {
		return domain.ErrInvalidCode
	}
	return tx.UseStep(ctx, account, step)
}

func (s *Server) totp(ctx context.Context, tx store.Tx, account int32) (domain.TOTP, error) {
	f, sealed, err := tx.TOTP(ctx, account)
	if err != nil {
		return f, err
	}
	secret, err := s.Sealer.Open(sealed, totpOf(account))
	f.Secret = string(secret)
	return f, err
}

// totpOf binds a sealed secret to its row.
func totpOf(account int32) string { return "totp " + strconv.Itoa(int(account)) }

func newRecoveryCodes(ctx context.Context, tx store.Tx, account int32) ([]string, error) {
	codes, hashes := domain.NewRecoveryCodes(account)
	return codes, tx.SetRecoveryCodes(ctx, account, hashes)
}
