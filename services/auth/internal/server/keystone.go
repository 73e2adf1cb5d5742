package server

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// keystoneLife is the default of Keystone, which clients know.
const keystoneLife = time.Hour

// CreateKeystoneToken makes a token of the OpenStack dialect.
func (s *Server) CreateKeystoneToken(ctx context.Context, r *authpb.CreateKeystoneTokenRequest) (*authpb.CreateKeystoneTokenResponse, error) {
	switch {
	case r.GetPassword() != nil:
		return s.keystoneByPassword(ctx, r.GetPassword())
	case r.GetApplication() != nil:
		return s.keystoneByAPIKey(ctx, r.GetApplication())
	default:
		return nil, fault.Invalid.With("a password or an application credential is required")
	}
}

func (s *Server) keystoneByPassword(ctx context.Context, p *authpb.KeystonePassword) (*authpb.CreateKeystoneTokenResponse, error) {
	var token string
	var opened domain.Opened
	a, err := s.logIn(ctx, p.GetUser(), p.GetPassword(), p.GetTotp(), func(tx store.Tx, a domain.Account) (err error) {
		token, opened, err = openKeystone(ctx, tx, a, domain.Opening{Method: domain.ByPassword})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &authpb.CreateKeystoneTokenResponse{Token: token, Subject: subject(a, domain.ByPassword, opened.CreatedAt, *opened.ExpiresAt)}, nil
}

// keystoneByAPIKey makes a token that can do what the key can, from where it can, and ends with it.
func (s *Server) keystoneByAPIKey(ctx context.Context, p *authpb.KeystoneApplication) (*authpb.CreateKeystoneTokenResponse, error) {
	key, err := s.live(ctx, p.GetSecret())
	if err != nil {
		return nil, err
	}
	if key.Kind != domain.KindAPIKey || p.GetId() != 0 && p.GetId() != key.Session {
		return nil, identity.ErrInvalid
	}
	var token string
	var opened domain.Opened
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		maker, err := tx.Maker(ctx, key.Session)
		if err != nil {
			return err
		}
		token, opened, err = openKeystone(ctx, tx, key.Account, domain.Opening{Method: domain.ByAPIKey, Maker: maker})
		return err
	})
	if err != nil {
		return nil, err
	}
	ends := *opened.ExpiresAt
	if key.Left != nil && opened.CreatedAt.Add(*key.Left).Before(ends) {
		ends = opened.CreatedAt.Add(*key.Left)
	}
	return &authpb.CreateKeystoneTokenResponse{Token: token, Subject: subject(key.Account, domain.ByAPIKey, opened.CreatedAt, ends)}, nil
}

func openKeystone(ctx context.Context, tx store.Tx, a domain.Account, o domain.Opening) (string, domain.Opened, error) {
	token, life := domain.NewToken(a.ID), keystoneLife
	hash, err := domain.HashToken(token)
	if err != nil {
		return "", domain.Opened{}, err
	}
	o.Kind, o.Hash, o.Life, o.Client = domain.KindKeystone, hash, &life, client(ctx)
	opened, err := tx.OpenSession(ctx, a, o)
	return token, opened, err
}

// ValidateToken describes a token.
func (s *Server) ValidateToken(ctx context.Context, r *authpb.ValidateTokenRequest) (*authpb.TokenSubject, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.subjectOf(ctx, shown(me), r.GetSubjectToken())
	if err != nil {
		return nil, err
	}
	ends := s.Now().Add(keystoneLife)
	if l.Left != nil {
		ends = s.Now().Add(*l.Left)
	}
	method := l.Method
	if l.Kind == "token" || l.Kind == domain.KindAPIKey {
		method = "token"
	}
	return subject(l.Account, method, l.IssuedAt, ends), nil
}

// RevokeToken ends a token.
func (s *Server) RevokeToken(ctx context.Context, r *authpb.RevokeTokenRequest) (*authpb.RevokeTokenResponse, error) {
	me, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	owner := changed(me, "tokens.write")
	l, err := s.subjectOf(ctx, owner, r.GetSubjectToken())
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error { return tx.DeleteToken(ctx, owner, l.Session, nil) })
	if err != nil {
		return nil, err
	}
	return &authpb.RevokeTokenResponse{}, nil
}

// subjectOf looks a token up that must be of account owner, unless that is 0. To say that a token exists to somebody who has
// its value gives nothing away.
func (s *Server) subjectOf(ctx context.Context, owner int32, text string) (store.Live, error) {
	hash, err := domain.HashToken(text)
	if err != nil {
		return store.Live{}, domain.ErrNoToken
	}
	l, err := s.store.Use(ctx, hash, s.TokenTTL, rpc.ClientIP(ctx))
	switch {
	case isInvalid(err):
		return l, domain.ErrNoToken
	case err != nil:
		return l, err
	case owner != 0 && l.Account.ID != owner:
		return l, fault.Denied.With("the token is not yours")
	}
	return l, nil
}

func subject(a domain.Account, method string, issued, expires time.Time) *authpb.TokenSubject {
	standard := &authpb.KeystoneName{Id: "default", Name: "Default"}
	return &authpb.TokenSubject{
		User:  &authpb.KeystoneName{Id: strconv.Itoa(int(a.ID)), Name: a.Email},
		Roles: domain.KeystoneRoles(a.Roles), Domain: standard, Project: standard,
		IssuedAt: timestamppb.New(issued), ExpiresAt: timestamppb.New(expires), Methods: []string{method},
	}
}
