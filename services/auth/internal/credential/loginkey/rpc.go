package loginkey

import (
	"context"
	"strconv"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/credential/secret"
)

// LoginKeys answers the rpcs of KeyService.
type LoginKeys struct {
	db     *unit.DB
	access caller.Access
}

// New makes a LoginKeys.
func New(db *unit.DB, x caller.Access) *LoginKeys { return &LoginKeys{db, x} }

// CreateKey makes a one-time key for an account that may log in.
func (s *LoginKeys) CreateKey(ctx context.Context, r *authpb.CreateKeyRequest) (*authpb.CreateKeyResponse, error) {
	a, err := s.access.Named(ctx, r.GetUser())
	if err != nil {
		return nil, err
	}
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	key := secret.NewToken(a.ID)
	hash, err := hashOf(key)
	if err != nil {
		return nil, err
	}
	// The session of a key that a limited credential makes is limited as that is.
	limited := func(by, a identity.Identity) identity.Identity {
		a.Limited, a.Only = by.Limited, by.Only
		return a
	}
	err = s.access.AdministerAs(ctx, a.ID, limited, func(tx *unit.Tx, _ identity.Identity, a *account.Account) error {
		if a.State != account.Active {
			return errSuspended
		}
		chain, err := credential.ChainOf(ctx, tx, me.SessionID)
		if err != nil {
			return err
		}
		if me.Limited && chain.Maker == nil {
			return fault.Denied.With("a scoped token cannot create login keys")
		}
		audit.Of(ctx).Object("user", a.ID)
		return create(ctx, tx, a.ID, me.AccountID, hash, chain.Maker)
	})
	if err != nil {
		return nil, err
	}
	return &authpb.CreateKeyResponse{Id: strconv.Itoa(int(a.ID)), Key: key}, nil
}

// RedeemKey opens the session that a key stands for.
func (s *LoginKeys) RedeemKey(ctx context.Context, r *authpb.RedeemKeyRequest) (*authpb.RedeemKeyResponse, error) {
	id, token, err := s.openSession(ctx, r.GetKey())
	if err != nil {
		return nil, err
	}
	return &authpb.RedeemKeyResponse{Id: strconv.Itoa(int(id)), Token: token, Confirmed: true}, nil
}

// RedeemLegacyKey is RedeemKey for older clients.
func (s *LoginKeys) RedeemLegacyKey(ctx context.Context, r *authpb.RedeemLegacyKeyRequest) (*authpb.LegacySession, error) {
	id, token, err := s.openSession(ctx, r.GetKey())
	if err != nil {
		return nil, err
	}
	return &authpb.LegacySession{Id: id, Session: token, Token: token, Confirmed: true}, nil
}

// openSession redeems a key and opens its session.
func (s *LoginKeys) openSession(ctx context.Context, key string) (id int32, token string, err error) {
	hash, err := hashOf(key)
	if err != nil {
		return 0, "", err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		a, o, err := redeem(ctx, tx, hash)
		if err != nil {
			return err
		}
		id, token = a.ID, secret.NewToken(a.ID)
		audit.Of(ctx).Actor(a.ID, a.Email)
		audit.Of(ctx).Object("user", a.ID)
		if o.Hash, err = secret.Hash(token); err != nil {
			return err
		}
		o.Method, o.Client = method, credential.ClientOf(ctx)
		_, err = credential.Open(ctx, tx, a, o)
		return err
	})
	return id, token, err
}
