package server

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/auth/internal/bearer"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// Login opens a session with access and refresh tokens.
func (s *Server) Login(ctx context.Context, r *authpb.LoginRequest) (*authpb.Grant, error) {
	lives, err := domain.NewLives(r.GetAccessSeconds(), r.GetRefreshSeconds())
	if err != nil {
		return nil, err
	}
	value := domain.NewRefreshToken()
	hash, err := domain.HashRefreshToken(value)
	if err != nil {
		return nil, err
	}
	var opened store.Refreshed
	_, err = s.logIn(ctx, r.GetEmail(), r.GetPassword(), r.GetTotp(), func(tx store.Tx, a domain.Account) error {
		opened, err = tx.OpenRefresh(ctx, a, domain.Opening{Method: domain.ByPassword, Client: client(ctx)}, lives, hash)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.grant(opened, value)
}

// Refresh exchanges a refresh token. What ends a stolen session commits although the call fails.
func (s *Server) Refresh(ctx context.Context, r *authpb.RefreshRequest) (*authpb.Grant, error) {
	value := r.GetRefreshToken()
	hash, err := domain.HashRefreshToken(value)
	if err != nil {
		return nil, err
	}
	var opened store.Refreshed
	var next string
	var use domain.Use
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		if opened, err = tx.RefreshSession(ctx, hash); err != nil {
			return err
		}
		audit.Of(ctx).Actor(opened.AccountID, "")
		audit.Of(ctx).Object("session", opened.UUID)
		token, err := tx.RefreshToken(ctx, hash)
		if err != nil {
			return err
		}
		use = token.Judge(client(ctx).Hash())
		switch use {
		case domain.First:
			next, err = s.exchange(ctx, tx, &opened, value, hash)
			return err
		case domain.Again:
			next = domain.NextRefreshToken(value, token.Salt)
			return nil
		case domain.Theft:
			audit.Of(ctx).Change(nil, map[string]string{"ended": domain.ErrRefreshReused.Reason})
			return tx.EndRefreshSession(ctx, opened, domain.ErrRefreshReused.Reason)
		default:
			return domain.ErrRefreshTooLate
		}
	})
	if err == nil && use == domain.Theft {
		err = domain.ErrRefreshReused
	}
	if err != nil {
		return nil, err
	}
	return s.grant(opened, next)
}

func (s *Server) exchange(ctx context.Context, tx store.Tx, opened *store.Refreshed, value string, hash []byte) (string, error) {
	salt := domain.NewSalt()
	next := domain.NextRefreshToken(value, salt)
	nextHash, err := domain.HashRefreshToken(next)
	if err != nil {
		return "", err
	}
	ends, err := tx.UseRefreshToken(ctx, *opened, hash, salt, nextHash, client(ctx))
	opened.ExpiresAt = &ends
	return next, err
}

// Logout ends the session of a refresh token, if there is one.
func (s *Server) Logout(ctx context.Context, r *authpb.LogoutRequest) (*authpb.LogoutResponse, error) {
	hash, err := domain.HashRefreshToken(r.GetRefreshToken())
	if err != nil {
		return &authpb.LogoutResponse{}, nil //nolint:nilerr // there is no such session
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		opened, err := tx.RefreshSession(ctx, hash)
		if err != nil {
			return err
		}
		audit.Of(ctx).Actor(opened.AccountID, "")
		audit.Of(ctx).Object("session", opened.UUID)
		return tx.EndRefreshSession(ctx, opened, "")
	})
	if err != nil && !isInvalid(err) {
		return nil, err
	}
	return &authpb.LogoutResponse{}, nil
}

// grant writes what a client gets. An access token does not outlive its session.
func (s *Server) grant(opened store.Refreshed, refresh string) (*authpb.Grant, error) {
	expires := s.Now().Add(opened.Lives.Access).Truncate(time.Second)
	if opened.ExpiresAt.Before(expires) {
		expires = opened.ExpiresAt.Truncate(time.Second)
	}
	access, err := s.bearer.Write(bearer.Token{Account: opened.AccountID, Session: opened.UUID, Expires: expires})
	if err != nil {
		return nil, err
	}
	return &authpb.Grant{
		AccessToken: access, AccessExpiresAt: timestamppb.New(expires),
		RefreshToken: refresh, RefreshExpiresAt: timestamppb.New(*opened.ExpiresAt),
		AccountId: opened.AccountID, SessionUuid: opened.UUID,
	}, nil
}

// client is where a call came from, as far as the gateway says.
func client(ctx context.Context) domain.Client {
	return domain.NewClient(rpc.ClientIP(ctx), rpc.UserAgent(ctx))
}
