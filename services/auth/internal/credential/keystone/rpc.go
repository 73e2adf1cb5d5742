package keystone

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/caller"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/credential/apikey"
	"slipway.dev/services/auth/internal/credential/introspect"
	"slipway.dev/services/auth/internal/credential/secret"
	"slipway.dev/services/auth/internal/credential/session"
)

// Keystone answers the rpcs of KeystoneService.
type Keystone struct {
	db       *unit.DB
	sessions *session.Sessions
	live     *introspect.Introspector
	now      func() time.Time
}

// New makes a Keystone.
func New(db *unit.DB, s *session.Sessions, i *introspect.Introspector, now func() time.Time) *Keystone {
	return &Keystone{db, s, i, now}
}

// CreateKeystoneToken makes a token of the OpenStack dialect.
func (s *Keystone) CreateKeystoneToken(ctx context.Context, r *authpb.CreateKeystoneTokenRequest) (*authpb.CreateKeystoneTokenResponse, error) {
	switch {
	case r.GetPassword() != nil:
		return s.byPassword(ctx, r.GetPassword())
	case r.GetApplication() != nil:
		return s.byAPIKey(ctx, r.GetApplication())
	default:
		return nil, fault.Invalid.With("a password or an application credential is required")
	}
}

// byPassword makes a token as a login does.
func (s *Keystone) byPassword(ctx context.Context, p *authpb.KeystonePassword) (*authpb.CreateKeystoneTokenResponse, error) {
	var token string
	var opened credential.Opened
	a, err := s.sessions.LogIn(ctx, p.GetUser(), p.GetPassword(), p.GetTotp(), func(tx *unit.Tx, a account.Account) (err error) {
		token, opened, err = open(ctx, tx, a, credential.Opening{Method: session.ByPassword})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &authpb.CreateKeystoneTokenResponse{Token: token, Subject: subject(a, session.ByPassword, opened.CreatedAt, *opened.ExpiresAt)}, nil
}

// byAPIKey makes a token that can do what the key can, from where it can, and ends with it.
func (s *Keystone) byAPIKey(ctx context.Context, p *authpb.KeystoneApplication) (*authpb.CreateKeystoneTokenResponse, error) {
	key, err := s.live.Find(ctx, p.GetSecret())
	if err != nil {
		return nil, err
	}
	if key.Kind != apikey.Kind || p.GetId() != 0 && p.GetId() != key.ID {
		return nil, identity.ErrInvalid
	}
	var token string
	var opened credential.Opened
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		chain, err := credential.ChainOf(ctx, tx, key.ID)
		if err != nil {
			return err
		}
		token, opened, err = open(ctx, tx, key.Account, credential.Opening{Method: byAPIKey, Maker: chain.Maker})
		return err
	})
	if err != nil {
		return nil, err
	}
	ends := *opened.ExpiresAt
	if key.Left != nil && opened.CreatedAt.Add(*key.Left).Before(ends) {
		ends = opened.CreatedAt.Add(*key.Left)
	}
	return &authpb.CreateKeystoneTokenResponse{Token: token, Subject: subject(key.Account, byAPIKey, opened.CreatedAt, ends)}, nil
}

// open makes a token of an account.
func open(ctx context.Context, tx *unit.Tx, a account.Account, o credential.Opening) (string, credential.Opened, error) {
	token, ends := secret.NewToken(a.ID), life
	hash, err := secret.Hash(token)
	if err != nil {
		return "", credential.Opened{}, err
	}
	o.Kind, o.Hash, o.Life, o.Client = kind, hash, &ends, credential.ClientOf(ctx)
	opened, err := credential.Open(ctx, tx, a, o)
	return token, opened, err
}

// ValidateToken describes a token.
func (s *Keystone) ValidateToken(ctx context.Context, r *authpb.ValidateTokenRequest) (*authpb.TokenSubject, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.subjectOf(ctx, caller.Sees(me), r.GetSubjectToken())
	if err != nil {
		return nil, err
	}
	ends := s.now().Add(life)
	if l.Left != nil {
		ends = s.now().Add(*l.Left)
	}
	method := l.Method
	if l.Kind == "token" || l.Kind == apikey.Kind {
		method = "token"
	}
	return subject(l.Account, method, l.IssuedAt, ends), nil
}

// RevokeToken ends a token.
func (s *Keystone) RevokeToken(ctx context.Context, r *authpb.RevokeTokenRequest) (*authpb.RevokeTokenResponse, error) {
	me, err := caller.Of(ctx)
	if err != nil {
		return nil, err
	}
	owner := caller.Ends(me, "tokens.write")
	l, err := s.subjectOf(ctx, owner, r.GetSubjectToken())
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		if _, err := credential.Delete(ctx, tx, owner, "id = $2", l.ID); err != nil {
			return err
		}
		audit.Of(ctx).Object("token", l.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &authpb.RevokeTokenResponse{}, nil
}

// subjectOf looks up a token that must be of account owner, unless owner is 0. A caller that has the value of a token
// may learn that the token exists.
func (s *Keystone) subjectOf(ctx context.Context, owner int32, text string) (introspect.Live, error) {
	hash, err := secret.Hash(text)
	if err != nil {
		return introspect.Live{}, errNoToken
	}
	l, err := s.live.FindHash(ctx, hash)
	switch {
	case errors.Is(err, identity.ErrInvalid):
		return l, errNoToken
	case err != nil:
		return l, err
	case owner != 0 && l.Account.ID != owner:
		return l, fault.Denied.With("the token is not yours")
	}
	return l, nil
}

// subject describes a token of an account.
func subject(a account.Account, method string, issued, expires time.Time) *authpb.TokenSubject {
	standard := &authpb.KeystoneName{Id: "default", Name: "Default"}
	return &authpb.TokenSubject{
		User:  &authpb.KeystoneName{Id: strconv.Itoa(int(a.ID)), Name: a.Email},
		Roles: rolesOf(a.Roles), Domain: standard, Project: standard,
		IssuedAt: timestamppb.New(issued), ExpiresAt: timestamppb.New(expires), Methods: []string{method},
	}
}
