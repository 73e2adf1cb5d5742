package session

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/bearer"
	"slipway.dev/services/auth/internal/credential"
)

// Login opens a session with access and refresh tokens.
func (s *Sessions) Login(ctx context.Context, r *authpb.LoginRequest) (*authpb.Grant, error) {
	lives, err := newLives(r.GetAccessSeconds(), r.GetRefreshSeconds())
	if err != nil {
		return nil, err
	}
	value := newRefreshToken()
	hash, err := hashRefreshToken(value)
	if err != nil {
		return nil, err
	}
	var opened refreshed
	_, err = s.LogIn(ctx, r.GetEmail(), r.GetPassword(), r.GetTotp(), func(tx *unit.Tx, a account.Account) error {
		opened, err = open(ctx, tx, a, credential.Opening{Method: ByPassword, Client: credential.ClientOf(ctx)}, lives, hash)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.grant(opened, value)
}

// Refresh exchanges a refresh token. What ends a stolen session commits although the call fails.
func (s *Sessions) Refresh(ctx context.Context, r *authpb.RefreshRequest) (*authpb.Grant, error) {
	value := r.GetRefreshToken()
	hash, err := hashRefreshToken(value)
	if err != nil {
		return nil, err
	}
	var opened refreshed
	var next string
	var how use
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		if opened, err = load(ctx, tx, hash); err != nil {
			return err
		}
		audit.Of(ctx).Actor(opened.account, "")
		audit.Of(ctx).Object("session", opened.UUID)
		token, err := read(ctx, tx, hash)
		if err != nil {
			return err
		}
		how = token.classify(credential.ClientOf(ctx).Hash())
		switch how {
		case first:
			next, err = s.exchange(ctx, tx, &opened, value, hash)
			return err
		case again:
			next = nextRefreshToken(value, token.salt)
			return nil
		case theft:
			audit.Of(ctx).Change(nil, map[string]string{"ended": errReused.Reason})
			return end(ctx, tx, opened, errReused.Reason)
		default:
			return errTooLate
		}
	})
	if err == nil && how == theft {
		err = errReused
	}
	if err != nil {
		return nil, err
	}
	return s.grant(opened, next)
}

// exchange uses a refresh token up and makes the next.
func (s *Sessions) exchange(ctx context.Context, tx *unit.Tx, opened *refreshed, value string, hash []byte) (string, error) {
	salt := newSalt()
	next := nextRefreshToken(value, salt)
	nextHash, err := hashRefreshToken(next)
	if err != nil {
		return "", err
	}
	ends, err := advance(ctx, tx, *opened, hash, salt, nextHash, credential.ClientOf(ctx))
	opened.ExpiresAt = &ends
	return next, err
}

// Logout ends the session of a refresh token, if there is one.
func (s *Sessions) Logout(ctx context.Context, r *authpb.LogoutRequest) (*authpb.LogoutResponse, error) {
	hash, err := hashRefreshToken(r.GetRefreshToken())
	if err != nil {
		return &authpb.LogoutResponse{}, nil //nolint:nilerr // there is no such session
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		opened, err := load(ctx, tx, hash)
		if err != nil {
			return err
		}
		audit.Of(ctx).Actor(opened.account, "")
		audit.Of(ctx).Object("session", opened.UUID)
		return end(ctx, tx, opened, "")
	})
	if err != nil && !errors.Is(err, identity.ErrInvalid) {
		return nil, err
	}
	return &authpb.LogoutResponse{}, nil
}

// grant returns what a client gets. An access token does not outlive its session.
func (s *Sessions) grant(opened refreshed, refresh string) (*authpb.Grant, error) {
	expires := s.now().Add(opened.lives.access).Truncate(time.Second)
	if opened.ExpiresAt.Before(expires) {
		expires = opened.ExpiresAt.Truncate(time.Second)
	}
	access, err := s.bearer.Write(bearer.Token{Account: opened.account, Session: opened.UUID, Expires: expires})
	if err != nil {
		return nil, err
	}
	return &authpb.Grant{
		AccessToken: access, AccessExpiresAt: timestamppb.New(expires),
		RefreshToken: refresh, RefreshExpiresAt: timestamppb.New(*opened.ExpiresAt),
		AccountId: opened.account, SessionUuid: opened.UUID,
	}, nil
}
