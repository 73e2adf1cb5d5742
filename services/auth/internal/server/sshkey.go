package server

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// AddSSHKey stores a key of the caller, or of anybody when the caller is an administrator.
func (s *Server) AddSSHKey(ctx context.Context, r *authpb.AddSSHKeyRequest) (*authpb.AddSSHKeyResponse, error) {
	if err := mine(ctx, r.GetUser()); err != nil {
		return nil, err
	}
	k, err := domain.NewSSHKey(r.GetName(), r.GetSshPubKey())
	if err != nil {
		return nil, err
	}
	var id int32
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		id, err = tx.AddSSHKey(ctx, r.GetUser(), k)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &authpb.AddSSHKeyResponse{Id: id}, nil
}

// ListSSHKeys lists the keys of the caller, or of anybody when the caller may see everything.
func (s *Server) ListSSHKeys(ctx context.Context, r *authpb.ListSSHKeysRequest) (*authpb.ListSSHKeysResponse, error) {
	if err := mine(ctx, r.GetUser()); err != nil {
		return nil, err
	}
	return s.sshKeys(ctx, r.GetUser())
}

// ListSSHKeysOf is ListSSHKeys for services.
func (s *Server) ListSSHKeysOf(ctx context.Context, r *authpb.ListSSHKeysOfRequest) (*authpb.ListSSHKeysResponse, error) {
	return s.sshKeys(ctx, r.GetUser())
}

func (s *Server) sshKeys(ctx context.Context, account int32) (*authpb.ListSSHKeysResponse, error) {
	l, err := s.store.SSHKeys(ctx, account)
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListSSHKeysResponse{LastNotify: l.LastNotify, Size: l.Size, List: make([]*authpb.SSHKey, len(l.Rows))}
	for i, k := range l.Rows {
		resp.List[i] = &authpb.SSHKey{Id: k.ID, Name: k.Name, SshPubKey: k.PublicKey}
	}
	return resp, nil
}

// mine lets the caller at their own account, and those at all accounts who may. To the others a foreign account is one
// that does not exist.
func mine(ctx context.Context, account int32) error {
	me, err := caller(ctx)
	if err != nil {
		return err
	}
	if me.AccountID != account && !me.ReachesAll() {
		return fault.NotFound.With("no such account")
	}
	return nil
}
