package apikey

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/stamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/credential/secret"
	"slipway.dev/services/auth/internal/power"
)

// APIKeys answers the rpcs of APIKeyService.
type APIKeys struct {
	db     *unit.DB
	powers power.Powers
	now    func() time.Time
}

// New makes an APIKeys.
func New(db *unit.DB, p power.Powers, now func() time.Time) *APIKeys { return &APIKeys{db, p, now} }

// CreateAPIKey makes a key of the caller's account.
func (s *APIKeys) CreateAPIKey(ctx context.Context, r *authpb.CreateAPIKeyRequest) (*authpb.CreateAPIKeyResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	k := apiKey{AccountID: me.AccountID}
	if k.Name, err = newName(r.GetName()); err != nil {
		return nil, err
	}
	if k.Scopes, err = s.powers.NewScopes(me, r.GetScopes()); err != nil {
		return nil, err
	}
	if k.CIDRs, err = newCIDRs(r.GetCidrs()); err != nil {
		return nil, err
	}
	if k.ExpiresAt, err = s.expiry(r.GetExpiresAt()); err != nil {
		return nil, err
	}
	key := secret.NewAPIKey()
	k.Hint = secret.Hint(key)
	hash, err := secret.Hash(key)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		if k.ID, err = create(ctx, tx, k, me.SessionID, hash); err != nil {
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
func (s *APIKeys) ListAPIKeys(ctx context.Context, r *authpb.ListAPIKeysRequest) (*authpb.ListAPIKeysResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	l, err := list(ctx, s.db, r.GetQuery(), caller.Sees(me))
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListAPIKeysResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.APIKey, len(l.Rows))}
	for i, k := range l.Rows {
		resp.List[i] = show(k)
	}
	return resp, nil
}

// GetAPIKey reads one key.
func (s *APIKeys) GetAPIKey(ctx context.Context, r *authpb.GetAPIKeyRequest) (*authpb.APIKey, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	k, err := find(ctx, s.db, caller.Sees(me), r.GetId())
	if err != nil {
		return nil, err
	}
	return show(k), nil
}

// UpdateAPIKey changes a key of the caller.
func (s *APIKeys) UpdateAPIKey(ctx context.Context, r *authpb.UpdateAPIKeyRequest) (*authpb.UpdateAPIKeyResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		chain, err := credential.ChainOf(ctx, tx, me.SessionID)
		if err != nil {
			return err
		}
		if chain.Key {
			return errByKey
		}
		k, err := load(ctx, tx, me.AccountID, r.GetId())
		if err != nil {
			return err
		}
		if err := s.edit(&k, me, r); err != nil {
			return err
		}
		return save(ctx, tx, k)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.UpdateAPIKeyResponse{Id: r.GetId()}, nil
}

func (s *APIKeys) edit(k *apiKey, me identity.Identity, r *authpb.UpdateAPIKeyRequest) (err error) {
	if name := r.GetName(); name != nil {
		if k.Name, err = newName(name.GetValue()); err != nil {
			return err
		}
	}
	if len(r.GetCidrs()) > 0 {
		if k.CIDRs, err = newCIDRs(r.GetCidrs()); err != nil {
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
		return k.narrow(scopes)
	}
	return nil
}

// DeleteAPIKey ends a key.
func (s *APIKeys) DeleteAPIKey(ctx context.Context, r *authpb.DeleteAPIKeyRequest) (*authpb.DeleteAPIKeyResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error { return end(ctx, tx, caller.Ends(me, "apikeys.write"), r.GetId()) })
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteAPIKeyResponse{Id: r.GetId()}, nil
}

// expiry reads when a key ends, which must lie ahead; nil or "" is never.
func (s *APIKeys) expiry(text *wrapperspb.StringValue) (*time.Time, error) {
	if text.GetValue() == "" {
		return nil, nil
	}
	t, err := credential.ParseExpiry(text.GetValue(), s.now())
	return &t, err
}

func show(k apiKey) *authpb.APIKey {
	out := &authpb.APIKey{
		Id: k.ID, AccountId: k.AccountID, Name: k.Name, Hint: k.Hint, Scopes: k.Scopes, Created: stamp.Text(k.CreatedAt),
		Expired: k.Expired,
	}
	if k.Scopes == nil {
		out.Scopes = []string{"*"}
	}
	for _, p := range k.CIDRs {
		out.Cidrs = append(out.Cidrs, p.String())
	}
	if k.ExpiresAt != nil {
		out.ExpiresAt = wrapperspb.String(stamp.Text(*k.ExpiresAt))
	}
	if k.LastUsed.After(k.CreatedAt) {
		out.LastUsed, out.LastIp = wrapperspb.String(stamp.Text(k.LastUsed)), wrapperspb.String(k.IP)
	}
	return out
}
