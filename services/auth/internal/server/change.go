package server

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// UpdateUser changes what is given of an account.
func (s *Server) UpdateUser(ctx context.Context, r *authpb.UpdateUserRequest) (*authpb.UpdateUserResponse, error) {
	edit := domain.Edit{
		Roles: r.GetRoles(), Email: r.Email, FullName: r.FullName, Lang: r.Lang, PhoneNumber: r.PhoneNumber, Note: r.Note,
	}
	if err := edit.CheckRoles(); err != nil {
		return nil, err
	}
	err := s.administer(ctx, r.GetId(), func(tx store.Tx, by identity.Identity, a *domain.Account) error {
		if err := s.checkRoles(ctx, tx, by, "roles", edit.Roles); err != nil {
			return err
		}
		return s.save(ctx, tx, a, func(a *domain.Account) (domain.Ends, error) { return a.Apply(edit) })
	})
	if err != nil {
		return nil, err
	}
	return &authpb.UpdateUserResponse{Id: r.GetId()}, nil
}

// SuspendUser shuts an account out.
func (s *Server) SuspendUser(ctx context.Context, r *authpb.SuspendUserRequest) (*authpb.SuspendUserResponse, error) {
	err := s.change(ctx, r.GetId(), (*domain.Account).Suspend)
	if err != nil {
		return nil, err
	}
	return &authpb.SuspendUserResponse{Id: r.GetId()}, nil
}

// ResumeUser lets an account in again.
func (s *Server) ResumeUser(ctx context.Context, r *authpb.ResumeUserRequest) (*authpb.ResumeUserResponse, error) {
	err := s.change(ctx, r.GetId(), (*domain.Account).Resume)
	if err != nil {
		return nil, err
	}
	return &authpb.ResumeUserResponse{Id: r.GetId()}, nil
}

// SetUserPassword gives an account another password.
func (s *Server) SetUserPassword(ctx context.Context, r *authpb.SetUserPasswordRequest) (*authpb.SetUserPasswordResponse, error) {
	if err := s.newPassword(ctx, r.GetPassword()); err != nil {
		return nil, err
	}
	hash, err := s.hash(ctx, r.GetPassword())
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, r.GetId(), func(a *domain.Account) domain.Ends { return a.SetPassword(hash) })
	if err != nil {
		return nil, err
	}
	return &authpb.SetUserPasswordResponse{Id: r.GetId()}, nil
}

// DeleteUser removes an account.
func (s *Server) DeleteUser(ctx context.Context, r *authpb.DeleteUserRequest) (*authpb.DeleteUserResponse, error) {
	err := s.administer(ctx, r.GetId(), func(tx store.Tx, _ identity.Identity, a *domain.Account) error {
		if err := keepAdmin(ctx, tx, *a, domain.Account{}); err != nil {
			return err
		}
		audit.Of(ctx).Change(accountRecord(*a), nil)
		return tx.DeleteAccount(ctx, a.ID)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteUserResponse{Id: r.GetId()}, nil
}

// change changes an account and ends what the change puts an end to.
func (s *Server) change(ctx context.Context, id int32, apply func(a *domain.Account) domain.Ends) error {
	return s.administer(ctx, id, func(tx store.Tx, _ identity.Identity, a *domain.Account) error {
		return s.save(ctx, tx, a, func(a *domain.Account) (domain.Ends, error) { return apply(a), nil })
	})
}

func (s *Server) save(ctx context.Context, tx store.Tx, a *domain.Account, apply func(a *domain.Account) (domain.Ends, error)) error {
	was := *a
	ends, err := apply(a)
	if err != nil {
		return err
	}
	if err := keepAdmin(ctx, tx, was, *a); err != nil {
		return err
	}
	audit.Of(ctx).Change(accountRecord(was), accountRecord(*a))
	if err := tx.SaveAccount(ctx, *a); err != nil || ends == domain.EndsNothing {
		return err
	}
	return tx.EndSessions(ctx, a.ID, ends == domain.EndsTokens, 0)
}

// administer loads an account that the caller may change: one that may do no more than the caller itself.
func (s *Server) administer(ctx context.Context, id int32, do func(tx store.Tx, by identity.Identity, a *domain.Account) error) error {
	return s.touch(ctx, id, func(_, a identity.Identity) identity.Identity { return a }, do)
}

// touch loads an account of which the caller may make what becomes says: something that may do no more than the caller itself.
func (s *Server) touch(ctx context.Context, id int32, becomes func(by, a identity.Identity) identity.Identity,
	do func(tx store.Tx, by identity.Identity, a *domain.Account) error,
) error {
	me, err := caller(ctx)
	if err != nil {
		return err
	}
	if me.AccountID != id && !me.ReachesAll() {
		return fault.NotFound.With("no such account")
	}
	return s.byAdmin(ctx, func(tx store.Tx, by identity.Identity) error {
		a, err := tx.Account(ctx, id)
		if err != nil {
			return err
		}
		if err := s.powers.CheckReach(by, becomes(by, a.Identity(0, s.powers))); err != nil {
			return err
		}
		return do(tx, by, &a)
	})
}

// byAdmin gives the caller as it is now: an identity may be a minute old. One such unit of work runs at a time, so that two
// administrators cannot end each other.
func (s *Server) byAdmin(ctx context.Context, do func(tx store.Tx, by identity.Identity) error) error {
	me, err := caller(ctx)
	if err != nil {
		return err
	}
	return s.store.InTx(ctx, func(tx store.Tx) error {
		if err := tx.Lock(ctx, "administrators"); err != nil {
			return err
		}
		by, err := tx.Account(ctx, me.AccountID)
		if isNotFound(err) || err == nil && by.State != domain.Active {
			return identity.ErrInvalid
		}
		if err != nil {
			return err
		}
		if by.Revision != me.Revision {
			return identity.ErrInvalid // what it may do has changed: let it come with a new identity
		}
		return do(tx, s.powers.As(by, me))
	})
}

// checkRoles makes sure that roles exist and are no more than by may give.
func (s *Server) checkRoles(ctx context.Context, tx store.Tx, by identity.Identity, field string, names []string) error {
	list, missing, err := tx.RolesNamed(ctx, names)
	if err != nil {
		return err
	}
	if missing != "" {
		return domain.NoRole(field, missing)
	}
	return s.powers.CheckGrant(by, domain.Together(list, s.powers), field)
}

// accountRecord is what the audit log keeps of an account.
func accountRecord(a domain.Account) map[string]any {
	return map[string]any{
		"email": a.Email, "roles": a.Roles, "state": a.State, "totp": a.TOTP,
		"full_name": a.FullName, "lang": a.Lang, "phone_number": a.PhoneNumber,
	}
}

// keepAdmin refuses to lose the last administrator.
func keepAdmin(ctx context.Context, tx store.Tx, was, is domain.Account) error {
	if !was.Administers() || is.Administers() {
		return nil
	}
	ok, err := tx.OtherAdmin(ctx, was.ID)
	if err == nil && !ok {
		return domain.ErrLastAdmin
	}
	return err
}
