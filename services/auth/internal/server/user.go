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

// GetUser reads one account.
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
	id, err := s.AddAccount(ctx, r.GetEmail(), r.GetPassword(), r.GetRole(), func(store.Tx) (bool, error) { return true, nil })
	if err != nil {
		return nil, err
	}
	return &authpb.CreateUserResponse{Id: id}, nil
}

// AddAccount makes an account if, inside the unit of work, it is still wanted. Without one it returns 0.
func (s *Server) AddAccount(ctx context.Context, email, password, role string, wanted func(store.Tx) (bool, error)) (int32, error) {
	email, err := domain.NewEmail(email)
	if err != nil {
		return 0, err
	}
	if err := domain.CheckPassword(password); err != nil {
		return 0, err
	}
	roles, err := domain.NewRoles(role)
	if err != nil {
		return 0, err
	}
	leave, err := s.passwords.Enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	hash, err := s.passwords.Hash(ctx, password)
	if err != nil {
		return 0, err
	}
	var id int32
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		ok, err := wanted(tx)
		if err != nil || !ok {
			return err
		}
		id, err = tx.CreateAccount(ctx, domain.Account{Email: email, PasswordHash: hash, Roles: roles})
		return err
	})
	return id, err
}

func user(a domain.Account) *authpb.User {
	return &authpb.User{
		Id: a.ID, Email: a.Email, Roles: a.Roles, State: a.State, Confirmed: true, AuthSource: a.AuthSource,
	}
}
