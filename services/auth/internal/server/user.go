package server

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// ListUsers lists accounts.
func (s *Server) ListUsers(ctx context.Context, r *authpb.ListUsersRequest) (*authpb.ListUsersResponse, error) {
	l, err := s.store.Accounts(ctx, r.GetQuery())
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

// CreateUser makes an account. Only an administrator may, so no role is more than the caller has.
func (s *Server) CreateUser(ctx context.Context, r *authpb.CreateUserRequest) (*authpb.CreateUserResponse, error) {
	wanted := func(store.Tx) (bool, error) { return true, nil }
	var resp *authpb.CreateUserResponse
	_, err := s.AddAccount(ctx, NewAccount{
		Email: r.GetEmail(), Password: r.GetPassword(), Role: r.GetRole(),
		Profile: domain.Profile{FullName: r.GetFullName(), Lang: r.GetLang(), PhoneNumber: r.GetPhoneNumber(), Note: r.GetNote()},
	}, wanted, func(tx store.Tx, id int32) error {
		resp = &authpb.CreateUserResponse{Id: id}
		return tx.Answer(ctx, resp)
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

// AddAccount makes an account if, inside the unit of work, it is still wanted, and has made do the rest of the unit of
// work. Without an account it returns 0.
func (s *Server) AddAccount(ctx context.Context, n NewAccount,
	wanted func(store.Tx) (bool, error), made func(store.Tx, int32) error,
) (int32, error) {
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
	var id int32
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		ok, err := wanted(tx)
		if err != nil || !ok {
			return err
		}
		id, err = tx.CreateAccount(ctx, domain.Account{Email: email, PasswordHash: hash, Roles: roles, Profile: n.Profile})
		if err != nil {
			return err
		}
		return made(tx, id)
	})
	return id, err
}

func user(a domain.Account) *authpb.User {
	return &authpb.User{
		Id: a.ID, Email: a.Email, Roles: a.Roles, State: a.State, Confirmed: true, AuthSource: a.AuthSource,
		FullName: a.FullName, Lang: a.Lang, PhoneNumber: a.PhoneNumber, Note: a.Note, Totp: a.TOTP, Created: dateTime(a.CreatedAt),
	}
}
