package server

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// CreateAPIKey makes a key of the caller's account.
func (s *Server) CreateAPIKey(ctx context.Context, r *authpb.CreateAPIKeyRequest) (*authpb.CreateAPIKeyResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	k := domain.APIKey{AccountID: me.AccountID}
	if k.Name, err = domain.NewAPIKeyName(r.GetName()); err != nil {
		return nil, err
	}
	if k.Scopes, err = s.powers.NewScopes(me, r.GetScopes()); err != nil {
		return nil, err
	}
	if k.CIDRs, err = domain.NewCIDRs(r.GetCidrs()); err != nil {
		return nil, err
	}
	if k.ExpiresAt, err = s.expiry(r.GetExpiresAt()); err != nil {
		return nil, err
	}
	key := domain.NewAPIKey()
	k.Hint = domain.Hint(key)
	hash, err := domain.HashToken(key)
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		if k.ID, err = tx.CreateAPIKey(ctx, k, me.SessionID, hash); err != nil {
			return err
		}
		audit.Of(ctx).Object("apikey", k.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &authpb.CreateAPIKeyResponse{Id: k.ID, Key: key}, nil
}

// ListAPIKeys lists keys.
func (s *Server) ListAPIKeys(ctx context.Context, r *authpb.ListAPIKeysRequest) (*authpb.ListAPIKeysResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.store.APIKeys(ctx, r.GetQuery(), shown(me))
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListAPIKeysResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.APIKey, len(l.Rows))}
	for i, k := range l.Rows {
		resp.List[i] = apiKey(k)
	}
	return resp, nil
}

// GetAPIKey reads one key.
func (s *Server) GetAPIKey(ctx context.Context, r *authpb.GetAPIKeyRequest) (*authpb.APIKey, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	k, err := s.store.APIKey(ctx, shown(me), r.GetId())
	if err != nil {
		return nil, err
	}
	return apiKey(k), nil
}

// UpdateAPIKey changes a key of the caller.
func (s *Server) UpdateAPIKey(ctx context.Context, r *authpb.UpdateAPIKeyRequest) (*authpb.UpdateAPIKeyResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		maker, err := tx.Maker(ctx, me.SessionID)
		if err != nil {
			return err
		}
		if maker != nil {
			return domain.ErrByAPIKey
		}
		k, err := tx.APIKey(ctx, me.AccountID, r.GetId())
		if err != nil {
			return err
		}
		if err := s.edit(&k, me, r); err != nil {
			return err
		}
		return tx.SaveAPIKey(ctx, k)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.UpdateAPIKeyResponse{Id: r.GetId()}, nil
}

func (s *Server) edit(k *domain.APIKey, me identity.Identity, r *authpb.UpdateAPIKeyRequest) (err error) {
	if name := r.GetName(); name != nil {
		if k.Name, err = domain.NewAPIKeyName(name.GetValue()); err != nil {
			return err
		}
	}
	if len(r.GetCidrs()) > 0 {
		if k.CIDRs, err = domain.NewCIDRs(r.GetCidrs()); err != nil {
			return err
		}
	}
	if text := r.GetExpiresAt(); text != nil {
		if k.ExpiresAt, err = s.expiry(text); err != nil {
			return err
		}
	}
	if len(r.GetScopes()) > 0 {
		scopes, err := s.powers.NewScopes(me, r.GetScopes())
		if err != nil {
			return err
		}
		return k.Narrow(scopes)
	}
	return nil
}

// DeleteAPIKey ends a key.
func (s *Server) DeleteAPIKey(ctx context.Context, r *authpb.DeleteAPIKeyRequest) (*authpb.DeleteAPIKeyResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error { return tx.DeleteAPIKey(ctx, changed(me, "apikeys.write"), r.GetId()) })
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteAPIKeyResponse{Id: r.GetId()}, nil
}

// shown is the account whose credentials the caller sees; 0: all.
func shown(me identity.Identity) int32 {
	if me.ReachesAll() {
		return 0
	}
	return me.AccountID
}

// changed is the account whose credentials the caller may end; 0: all. Who may look at everything may end only its own.
func changed(me identity.Identity, scope string) int32 {
	if me.Admin() || slices.Contains(me.GrantsAll, scope) {
		return 0
	}
	return me.AccountID
}

// expiry reads an end, which must lie ahead; nil or "" is none.
func (s *Server) expiry(text *wrapperspb.StringValue) (*time.Time, error) {
	if text.GetValue() == "" {
		return nil, nil
	}
	t, err := domain.Expiry(text.GetValue(), s.Now())
	return &t, err
}

func apiKey(k domain.APIKey) *authpb.APIKey {
	out := &authpb.APIKey{
		Id: k.ID, AccountId: k.AccountID, Name: k.Name, Hint: k.Hint, Scopes: k.Scopes, Created: dateTime(k.CreatedAt),
		Expired: k.Expired,
	}
	if k.Scopes == nil {
		out.Scopes = []string{"*"}
	}
	for _, p := range k.CIDRs {
		out.Cidrs = append(out.Cidrs, p.String())
	}
	if k.ExpiresAt != nil {
		out.ExpiresAt = wrapperspb.String(dateTime(*k.ExpiresAt))
	}
	if k.LastUsed.After(k.CreatedAt) {
		out.LastUsed, out.LastIp = wrapperspb.String(dateTime(k.LastUsed)), wrapperspb.String(k.IP)
	}
	return out
}
