package server

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// ListRoles lists roles.
func (s *Server) ListRoles(ctx context.Context, r *authpb.ListRolesRequest) (*authpb.ListRolesResponse, error) {
	l, err := s.store.Roles(ctx, r.GetQuery())
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListRolesResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.Role, len(l.Rows))}
	for i, r := range l.Rows {
		resp.List[i] = s.role(r)
	}
	return resp, nil
}

// GetRole reads one role.
func (s *Server) GetRole(ctx context.Context, r *authpb.GetRoleRequest) (*authpb.Role, error) {
	found, err := s.store.Role(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return s.role(found), nil
}

// CreateRole makes a role.
func (s *Server) CreateRole(ctx context.Context, r *authpb.CreateRoleRequest) (*authpb.CreateRoleResponse, error) {
	made, err := domain.NewRole(r.GetName(), r.GetDescription(), r.GetScopes(), r.GetAll(), s.powers)
	if err != nil {
		return nil, err
	}
	var resp *authpb.CreateRoleResponse
	err = s.byAdmin(ctx, func(tx store.Tx, by identity.Identity) error {
		if err := s.powers.CheckGrant(by, made.Identity(s.powers), "scopes"); err != nil {
			return err
		}
		if made.ID, err = tx.CreateRole(ctx, made); err != nil {
			return err
		}
		audit.Of(ctx).Object("role", made.ID)
		audit.Of(ctx).Change(nil, roleRecord(made))
		resp = &authpb.CreateRoleResponse{Id: made.ID}
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// UpdateRole changes what a role allows.
func (s *Server) UpdateRole(ctx context.Context, r *authpb.UpdateRoleRequest) (*authpb.UpdateRoleResponse, error) {
	err := s.byAdmin(ctx, func(tx store.Tx, by identity.Identity) error {
		old, err := s.changeable(ctx, tx, by, r.GetId())
		if err != nil {
			return err
		}
		is := old
		if r.Description != nil {
			if err := is.Describe(r.GetDescription()); err != nil {
				return err
			}
		}
		if len(r.GetScopes()) > 0 {
			if err := is.Allow(r.GetScopes(), s.powers); err != nil {
				return err
			}
		}
		if r.All != nil {
			is.ReachAll = r.GetAll()
		}
		if err := s.powers.CheckGrant(by, is.Identity(s.powers), "scopes"); err != nil {
			return err
		}
		audit.Of(ctx).Change(roleRecord(old), roleRecord(is))
		if err := tx.SaveRole(ctx, is); err != nil || is.AllowsAs(old) {
			return err
		}
		return tx.OutdateRole(ctx, is.Name)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.UpdateRoleResponse{Id: r.GetId()}, nil
}

// DeleteRole removes a role that no account has.
func (s *Server) DeleteRole(ctx context.Context, r *authpb.DeleteRoleRequest) (*authpb.DeleteRoleResponse, error) {
	err := s.byAdmin(ctx, func(tx store.Tx, by identity.Identity) error {
		old, err := s.changeable(ctx, tx, by, r.GetId())
		if err != nil {
			return err
		}
		audit.Of(ctx).Change(roleRecord(old), nil)
		return tx.DeleteRole(ctx, old.ID)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteRoleResponse{Id: r.GetId()}, nil
}

// ListScopes lists all scopes with the calls that need them.
func (s *Server) ListScopes(context.Context, *authpb.ListScopesRequest) (*authpb.ListScopesResponse, error) {
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

// changeable reads a role that by may change: one that allows no more than by may do itself.
func (s *Server) changeable(ctx context.Context, tx store.Tx, by identity.Identity, id int32) (domain.Role, error) {
	r, err := tx.Role(ctx, id)
	if err != nil {
		return r, err
	}
	if r.Builtin {
		return r, domain.ErrBuiltinRole
	}
	return r, s.powers.CheckGrant(by, r.Identity(s.powers), "scopes")
}

func (s *Server) role(r domain.Role) *authpb.Role {
	return &authpb.Role{
		Id: r.ID, Name: r.Name, Description: r.Description, Scopes: r.Shown(s.powers), All: r.ReachAll, Builtin: r.Builtin,
		AccountCount: r.AccountCount,
	}
}

// roleRecord is what the audit log keeps of a role.
func roleRecord(r domain.Role) map[string]any {
	return map[string]any{"name": r.Name, "description": r.Description, "scopes": r.Scopes, "all": r.ReachAll}
}
