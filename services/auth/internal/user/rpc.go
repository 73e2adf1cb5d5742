package user

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/stamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/password"
	"slipway.dev/services/auth/internal/power"
)

// Users answers the rpcs of UserService and SelfService, and those of other services that concern accounts.
type Users struct {
	db        *unit.DB
	access    caller.Access
	powers    power.Powers
	passwords *password.Passwords
	hosts     vmpb.AccountServiceClient
}

// New makes a Users. hosts is vm, which has the hosts of accounts; nil where there is no vm.
func New(db *unit.DB, x caller.Access, p power.Powers, w *password.Passwords, hosts vmpb.AccountServiceClient) *Users {
	return &Users{db, x, p, w, hosts}
}

// Whoami reads the caller's account as it is now.
func (s *Users) Whoami(ctx context.Context, _ *authpb.WhoamiRequest) (*authpb.User, error) {
	a, err := s.access.Me(ctx)
	if err != nil {
		return nil, err
	}
	if me, err := caller.Of(ctx); err != nil || !me.ReachesAll() {
		a.Note = ""
	}
	return show(a), nil
}

// ListUsers lists the accounts that the caller may see.
func (s *Users) ListUsers(ctx context.Context, r *authpb.ListUsersRequest) (*authpb.ListUsersResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	l, err := list(ctx, s.db, r.GetQuery(), caller.Sees(me))
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListUsersResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.User, len(l.Rows))}
	for i, a := range l.Rows {
		resp.List[i] = show(a)
	}
	return resp, nil
}

// FindUser reads an account by its id or e-mail: the caller's own, or any account where the caller sees all.
func (s *Users) FindUser(ctx context.Context, r *authpb.FindUserRequest) (*authpb.User, error) {
	a, err := s.access.Mine(ctx, r.GetUser())
	if err != nil {
		return nil, err
	}
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	if !me.ReachesAll() {
		a.Note = ""
	}
	return show(a), nil
}

// GetUser reads one account. For services.
func (s *Users) GetUser(ctx context.Context, r *authpb.GetUserRequest) (*authpb.User, error) {
	var a account.Account
	var err error
	if r.GetId() != 0 {
		a, err = account.Find(ctx, s.db, r.GetId())
	} else {
		a, err = account.FindByEmail(ctx, s.db, account.FoldEmail(r.GetEmail()))
	}
	if err != nil {
		return nil, err
	}
	return show(a), nil
}

func show(a account.Account) *authpb.User {
	return &authpb.User{
		Id: a.ID, Email: a.Email, Roles: a.Roles, State: a.State, Confirmed: true, AuthSource: a.AuthSource,
		FullName: a.FullName, Lang: a.Lang, PhoneNumber: a.PhoneNumber, Note: a.Note, Totp: a.TOTP, Created: stamp.Text(a.CreatedAt),
	}
}
