package token

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/stamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/credential/secret"
)

// Tokens answers the rpcs of TokenService about the credentials that the caller has.
type Tokens struct {
	db  *unit.DB
	ttl time.Duration
	now func() time.Time
}

// New makes a Tokens. ttl is how long a session may be unused where token_ttl was never set.
func New(db *unit.DB, ttl time.Duration, now func() time.Time) *Tokens { return &Tokens{db, ttl, now} }

// CreateToken makes a token for the caller, which can do what the caller can and no more.
func (s *Tokens) CreateToken(ctx context.Context, r *authpb.CreateTokenRequest) (*authpb.Token, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkDescription(r.GetDescription()); err != nil {
		return nil, err
	}
	var expires *time.Time
	if text := r.GetExpiresAt(); text != nil {
		t, err := credential.ParseExpiry(text.GetValue(), s.now())
		if err != nil {
			return nil, err
		}
		expires = &t
	}
	token := secret.NewToken(me.AccountID)
	hash, err := secret.Hash(token)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		id, err := create(ctx, tx, me.AccountID, me.SessionID, hash, expires, r.GetDescription())
		if err != nil {
			return err
		}
		audit.Of(ctx).Object("token", id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &authpb.Token{Id: me.AccountID, Token: token, ExpiresAt: r.GetExpiresAt(), Confirmed: true}, nil
}

// ListTokens lists the credentials of the caller that are good now.
func (s *Tokens) ListTokens(ctx context.Context, r *authpb.ListTokensRequest) (*authpb.ListTokensResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	l, err := list(ctx, s.db, r.GetQuery(), me.AccountID, s.ttl)
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListTokensResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.TokenInfo, len(l.Rows))}
	for i, t := range l.Rows {
		resp.List[i] = show(t)
	}
	return resp, nil
}

// DeleteToken ends a token of the caller, or of any account when the caller is an administrator.
func (s *Tokens) DeleteToken(ctx context.Context, r *authpb.DeleteTokenRequest) (*authpb.DeleteTokenResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	owner := me.AccountID
	if me.Admin() { // a read-only administrator reaches all, but to look
		owner = 0
	}
	id, hash := named(r.GetToken())
	err = s.db.InTx(ctx, func(tx *unit.Tx) error { return end(ctx, tx, owner, id, hash) })
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteTokenResponse{}, nil
}

// GetSelfSession describes the token that the call came with.
func (s *Tokens) GetSelfSession(ctx context.Context, _ *authpb.GetSelfSessionRequest) (*authpb.TokenInfo, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	t, err := find(ctx, s.db, me.AccountID, me.SessionID, s.ttl)
	if err != nil {
		return nil, err
	}
	return show(t), nil
}

// DeleteSelfSession ends the token that the call came with.
func (s *Tokens) DeleteSelfSession(ctx context.Context, _ *authpb.DeleteSelfSessionRequest) (*authpb.DeleteSelfSessionResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error { return end(ctx, tx, me.AccountID, me.SessionID, nil) })
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteSelfSessionResponse{}, nil
}

func show(t info) *authpb.TokenInfo {
	out := &authpb.TokenInfo{
		Id: t.ID, AccountId: t.AccountID, Kind: t.Kind, Description: t.Description,
		LastUsed: stamp.Text(t.LastUsed), Created: stamp.Text(t.CreatedAt),
	}
	if t.ExpiresAt != nil {
		out.ExpiresAt = wrapperspb.String(stamp.Text(*t.ExpiresAt))
	}
	if t.ValidUntil != nil {
		out.ValidUntil = wrapperspb.String(stamp.Text(*t.ValidUntil))
	}
	return out
}

// end ends a credential of an account, 0 for any, by its id or its hash.
func end(ctx context.Context, tx *unit.Tx, owner, id int32, hash []byte) error {
	id, err := credential.Delete(ctx, tx, owner, "id = $2 OR hash = $3", id, hash)
	if err != nil {
		return err
	}
	audit.Of(ctx).Object("token", id)
	return nil
}
