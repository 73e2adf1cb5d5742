package user

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/role"
)

// newAccount is what an account begins with: its e-mail, profile, password and role.
type newAccount struct {
	account.Account
	password, role string
}

// insertFunc inserts an account in a unit of work and returns its id. by grants the role; nil is the installation,
// which may grant all.
type insertFunc func(tx *unit.Tx, by *identity.Identity) (int32, error)

// CreateUser makes an account whose role is no more than the caller may do.
func (s *Users) CreateUser(ctx context.Context, r *authpb.CreateUserRequest) (*authpb.CreateUserResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	if !me.ReachesAll() {
		return nil, fault.Denied.With("a role that reaches the objects of its own account only makes no accounts")
	}
	n := newAccount{password: r.GetPassword(), role: r.GetRole(), Account: account.Account{
		Email: r.GetEmail(), FullName: r.GetFullName(), Lang: r.GetLang(), PhoneNumber: r.GetPhoneNumber(), Note: r.GetNote(),
	}}
	var resp *authpb.CreateUserResponse
	err = s.add(ctx, n, func(insert insertFunc) error {
		return s.access.ByAdmin(ctx, func(tx *unit.Tx, by identity.Identity) error {
			id, err := insert(tx, &by)
			if err != nil {
				return err
			}
			resp = &authpb.CreateUserResponse{Id: id}
			return tx.Answer(ctx, resp)
		})
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// add checks a new account and hashes its password. Then within runs the unit of work that inserts it.
func (s *Users) add(ctx context.Context, n newAccount, within func(insertFunc) error) (err error) {
	a := n.Account
	if a.Email, err = newEmail(n.Email); err != nil {
		return err
	}
	if err := s.passwords.CheckNew(ctx, n.password); err != nil {
		return err
	}
	if a.Roles, err = firstRoles(n.role); err != nil {
		return err
	}
	if err := checkProfile(a); err != nil {
		return err
	}
	if a.PasswordHash, err = s.passwords.Hash(ctx, n.password); err != nil {
		return err
	}
	a.State = account.Active
	return within(func(tx *unit.Tx, by *identity.Identity) (int32, error) {
		if by != nil {
			if err := role.CheckGrant(ctx, tx, s.powers, *by, "role", a.Roles); err != nil {
				return 0, err
			}
		}
		id, err := account.Create(ctx, tx, a)
		audit.Of(ctx).Object("user", id)
		audit.Of(ctx).Change(nil, record(a))
		return id, err
	})
}
