package role

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/power"
)

// Roles answers the rpcs of RoleService.
type Roles struct {
	db     *unit.DB
	access caller.Access
	powers power.Powers
	end    EndMade
}

// EndMade ends what accounts made for other accounts with rights that they may not have any more.
type EndMade func(ctx context.Context, tx *unit.Tx, by ...int32) error

// New makes a Roles.
func New(db *unit.DB, x caller.Access, p power.Powers, end EndMade) *Roles {
	return &Roles{db, x, p, end}
}

// ListRoles lists roles.
func (s *Roles) ListRoles(ctx context.Context, r *authpb.ListRolesRequest) (*authpb.ListRolesResponse, error) {
	l, err := list(ctx, s.db, r.GetQuery())
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListRolesResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.Role, len(l.Rows))}
	for i, r := range l.Rows {
		resp.List[i] = s.show(r)
	}
	return resp, nil
}

// GetRole reads one role.
func (s *Roles) GetRole(ctx context.Context, r *authpb.GetRoleRequest) (*authpb.Role, error) {
	found, err := find(ctx, s.db, `id = $1`, r.GetId())
	if err != nil {
		return nil, err
	}
	return s.show(found), nil
}

// CreateRole makes a role.
func (s *Roles) CreateRole(ctx context.Context, r *authpb.CreateRoleRequest) (*authpb.CreateRoleResponse, error) {
	made, err := newRole(r.GetName(), r.GetDescription(), r.GetScopes(), r.GetAll(), s.powers)
	if err != nil {
		return nil, err
	}
	var resp *authpb.CreateRoleResponse
	err = s.access.ByAdmin(ctx, func(tx *unit.Tx, by identity.Identity) error {
		if err := s.powers.CheckGrant(by, made.identity(s.powers), "scopes"); err != nil {
			return err
		}
		if made.ID, err = create(ctx, tx, made); err != nil {
			return err
		}
		audit.Of(ctx).Object("role", made.ID)
		audit.Of(ctx).Change(nil, record(made))
		resp = &authpb.CreateRoleResponse{Id: made.ID}
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// UpdateRole changes what a role allows.
func (s *Roles) UpdateRole(ctx context.Context, r *authpb.UpdateRoleRequest) (*authpb.UpdateRoleResponse, error) {
	err := s.access.ByAdmin(ctx, func(tx *unit.Tx, by identity.Identity) error {
		old, err := s.changeable(ctx, tx, by, r.GetId())
		if err != nil {
			return err
		}
		is := old
		if r.Description != nil {
			if err := is.describe(r.GetDescription()); err != nil {
				return err
			}
		}
		if len(r.GetScopes()) > 0 {
			if err := is.allow(r.GetScopes(), s.powers); err != nil {
				return err
			}
		}
		if r.All != nil {
			is.ReachAll = r.GetAll()
		}
		if err := s.powers.CheckGrant(by, is.identity(s.powers), "scopes"); err != nil {
			return err
		}
		audit.Of(ctx).Change(record(old), record(is))
		if err := save(ctx, tx, is); err != nil || is.allowsAs(old) {
			return err
		}
		ids, err := accountsWith(ctx, tx, is.Name)
		if err != nil {
			return err
		}
		if err := s.end(ctx, tx, ids...); err != nil {
			return err
		}
		return account.Outdate(ctx, tx, ids...) // their identities say what the role allowed before
	})
	if err != nil {
		return nil, err
	}
	return &authpb.UpdateRoleResponse{Id: r.GetId()}, nil
}

// DeleteRole removes a role that no account has.
func (s *Roles) DeleteRole(ctx context.Context, r *authpb.DeleteRoleRequest) (*authpb.DeleteRoleResponse, error) {
	err := s.access.ByAdmin(ctx, func(tx *unit.Tx, by identity.Identity) error {
		old, err := s.changeable(ctx, tx, by, r.GetId())
		if err != nil {
			return err
		}
		audit.Of(ctx).Change(record(old), nil)
		return remove(ctx, tx, old.ID)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteRoleResponse{Id: r.GetId()}, nil
}

// ListScopes lists all scopes with the calls that need them.
func (s *Roles) ListScopes(context.Context, *authpb.ListScopesRequest) (*authpb.ListScopesResponse, error) {
	resp := &authpb.ListScopesResponse{List: []*authpb.Scope{}}
	for _, name := range s.powers.Scopes() {
		scope := &authpb.Scope{Name: name}
		for _, m := range s.powers.Methods() {
			if m.Demand.Scope == name {
				scope.Admin = scope.Admin || m.Demand.Admin
				scope.Routes = append(scope.Routes, m.Routes...)
			}
		}
		resp.List = append(resp.List, scope)
	}
	resp.Size = clamp.Int32(len(resp.GetList()))
	return resp, nil
}

// changeable reads and locks a role that by may change: one that allows no more than by may do.
func (s *Roles) changeable(ctx context.Context, tx *unit.Tx, by identity.Identity, id int32) (role, error) {
	r, err := load(ctx, tx, id)
	if err != nil {
		return r, err
	}
	if r.Builtin {
		return r, errBuiltin
	}
	return r, s.powers.CheckGrant(by, r.identity(s.powers), "scopes")
}

func (s *Roles) show(r role) *authpb.Role {
	return &authpb.Role{
		Id: r.ID, Name: r.Name, Description: r.Description, Scopes: r.shown(s.powers), All: r.ReachAll, Builtin: r.Builtin,
		AccountCount: r.AccountCount,
	}
}

// record returns what the audit log keeps of a role.
func record(r role) map[string]any {
	return map[string]any{"name": r.Name, "description": r.Description, "scopes": r.Scopes, "all": r.ReachAll}
}
