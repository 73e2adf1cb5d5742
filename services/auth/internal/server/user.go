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

// ListUsers lists the accounts that the caller may see.
func (s *Server) ListUsers(ctx context.Context, r *authpb.ListUsersRequest) (*authpb.ListUsersResponse, error) {
	only, err := visible(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.store.Accounts(ctx, r.GetQuery(), only)
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListUsersResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.User, len(l.Rows))}
	for i, a := range l.Rows {
		resp.List[i] = user(a)
	}
	return resp, nil
}

// FindUser reads an account by its id or e-mail: the caller's own, or any for those who see all.
func (s *Server) FindUser(ctx context.Context, r *authpb.FindUserRequest) (*authpb.User, error) {
	a, err := s.mine(ctx, r.GetUser())
	if err != nil {
		return nil, err
	}
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if !me.ReachesAll() {
		a.Note = ""
	}
	return user(a), nil
}

// GetUser reads one account. For services.
func (s *Server) GetUser(ctx context.Context, r *authpb.GetUserRequest) (*authpb.User, error) {
	var a domain.Account
	var err error
	if r.GetId() != 0 {
		a, err = s.store.Account(ctx, r.GetId())
	} else {
		a, err = s.store.AccountByEmail(ctx, domain.FoldEmail(r.GetEmail()))
	}
	if err != nil {
		return nil, err
	}
	return user(a), nil
}

// CreateUser makes an account whose role is no more than the caller may do.
func (s *Server) CreateUser(ctx context.Context, r *authpb.CreateUserRequest) (*authpb.CreateUserResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if !me.ReachesAll() {
		return nil, fault.Denied.With("a role limited to the objects of its own account cannot create accounts")
	}
	var resp *authpb.CreateUserResponse
	_, err = s.addAccount(ctx, NewAccount{
		Email: r.GetEmail(), Password: r.GetPassword(), Role: r.GetRole(),
		Profile: domain.Profile{FullName: r.GetFullName(), Lang: r.GetLang(), PhoneNumber: r.GetPhoneNumber(), Note: r.GetNote()},
	}, func(add func(store.Tx, *identity.Identity) (int32, error)) error {
		return s.byAdmin(ctx, func(tx store.Tx, by identity.Identity) error {
			id, err := add(tx, &by)
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

// NewAccount is what an account begins with.
type NewAccount struct {
	Email, Password, Role string
	Profile               domain.Profile
}

// AddAccount makes an account if, inside the unit of work, it is still wanted. Without one it returns 0.
func (s *Server) AddAccount(ctx context.Context, n NewAccount, wanted func(store.Tx) (bool, error)) (int32, error) {
	return s.addAccount(ctx, n, func(add func(store.Tx, *identity.Identity) (int32, error)) error {
		return s.store.InTx(ctx, func(tx store.Tx) error {
			if ok, err := wanted(tx); err != nil || !ok {
				return err
			}
			_, err := add(tx, nil)
			return err
		})
	})
}

// addAccount has within make the unit of work that adds an account; by is who grants the role, nil for the installation.
func (s *Server) addAccount(
	ctx context.Context, n NewAccount, within func(add func(tx store.Tx, by *identity.Identity) (int32, error)) error,
) (id int32, err error) {
	email, err := domain.NewEmail(n.Email)
	if err != nil {
		return 0, err
	}
	if err := s.newPassword(ctx, n.Password); err != nil {
		return 0, err
	}
	roles, err := domain.NewRoles(n.Role)
	if err != nil {
		return 0, err
	}
	if err := n.Profile.Check(); err != nil {
		return 0, err
	}
	hash, err := s.hash(ctx, n.Password)
	if err != nil {
		return 0, err
	}
	err = within(func(tx store.Tx, by *identity.Identity) (int32, error) {
		if by != nil {
			if err := s.checkRoles(ctx, tx, *by, "role", roles); err != nil {
				return 0, err
			}
		}
		a := domain.Account{Email: email, PasswordHash: hash, Roles: roles, State: domain.Active, Profile: n.Profile}
		id, err = tx.CreateAccount(ctx, a)
		audit.Of(ctx).Object("user", id)
		audit.Of(ctx).Change(nil, accountRecord(a))
		return id, err
	})
	return id, err
}

func user(a domain.Account) *authpb.User {
	return &authpb.User{
		Id: a.ID, Email: a.Email, Roles: a.Roles, State: a.State, Confirmed: true, AuthSource: a.AuthSource,
		FullName: a.FullName, Lang: a.Lang, PhoneNumber: a.PhoneNumber, Note: a.Note, Totp: a.TOTP, Created: dateTime(a.CreatedAt),
	}
}
