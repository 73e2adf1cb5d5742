package server

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/store"
)

// AddSSHKey stores a key of the caller, or of anybody when the caller is an administrator.
func (s *Server) AddSSHKey(ctx context.Context, r *authpb.AddSSHKeyRequest) (*authpb.AddSSHKeyResponse, error) {
	a, err := s.mine(ctx, r.GetAccount())
	if err != nil {
		return nil, err
	}
	k, err := domain.NewSSHKey(r.GetName(), r.GetSshPubKey())
	if err != nil {
		return nil, err
	}
	var resp *authpb.AddSSHKeyResponse
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		if err := s.reach(ctx, tx, a.ID); err != nil {
			return err
		}
		id, err := tx.AddSSHKey(ctx, a.ID, k)
		if err != nil {
			return err
		}
		audit.Of(ctx).Object("user", a.ID)
		audit.Of(ctx).Change(nil, map[string]any{"ssh_key": id, "name": k.Name, "fingerprint": k.Fingerprint})
		resp = &authpb.AddSSHKeyResponse{Id: id}
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// ListSSHKeys lists the keys of the caller, or of anybody when the caller may see everything.
func (s *Server) ListSSHKeys(ctx context.Context, r *authpb.ListSSHKeysRequest) (*authpb.ListSSHKeysResponse, error) {
	a, err := s.mine(ctx, r.GetAccount())
	if err != nil {
		return nil, err
	}
	l, err := s.store.SSHKeys(ctx, r.GetQuery(), a.ID)
	if err != nil {
		return nil, err
	}
	return &authpb.ListSSHKeysResponse{LastNotify: l.LastNotify, Size: l.Size, List: sshKeys(l.Rows)}, nil
}

// DeleteSSHKey removes a key of the caller, or of anybody when the caller is an administrator.
func (s *Server) DeleteSSHKey(ctx context.Context, r *authpb.DeleteSSHKeyRequest) (*authpb.DeleteSSHKeyResponse, error) {
	a, err := s.mine(ctx, r.GetAccount())
	if err != nil {
		return nil, err
	}
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		if err := s.reach(ctx, tx, a.ID); err != nil {
			return err
		}
		audit.Of(ctx).Object("user", a.ID)
		audit.Of(ctx).Change(map[string]any{"ssh_key": r.GetId()}, nil)
		return tx.DeleteSSHKey(ctx, a.ID, r.GetId())
	})
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteSSHKeyResponse{Id: r.GetId()}, nil
}

// ListSSHKeysOf returns all keys of an account to a service: no page, no filter.
func (s *Server) ListSSHKeysOf(ctx context.Context, r *authpb.ListSSHKeysOfRequest) (*authpb.ListSSHKeysResponse, error) {
	keys, err := s.store.KeysOf(ctx, r.GetUser())
	if err != nil {
		return nil, err
	}
	return &authpb.ListSSHKeysResponse{Size: clamp.Int32(len(keys)), List: sshKeys(keys)}, nil
}

func sshKeys(keys []domain.SSHKey) []*authpb.SSHKey {
	list := make([]*authpb.SSHKey, len(keys))
	for i, k := range keys {
		list[i] = &authpb.SSHKey{Id: k.ID, Name: k.Name, SshPubKey: k.PublicKey}
	}
	return list
}

// reach refuses to touch another account that may do more than the caller.
func (s *Server) reach(ctx context.Context, tx store.Tx, account int32) error {
	me, err := caller(ctx)
	if err != nil || me.AccountID == account {
		return err
	}
	a, err := tx.Account(ctx, account)
	if err != nil {
		return err
	}
	return s.powers.CheckReach(me, a.Identity(0, s.powers))
}

// mine finds an account by what stands in a path: the caller's own, or any for those who may reach all. To the others a
// foreign account is one that does not exist.
func (s *Server) mine(ctx context.Context, name string) (domain.Account, error) {
	me, err := caller(ctx)
	if err != nil {
		return domain.Account{}, err
	}
	a, err := s.named(ctx, name)
	if err == nil && a.ID != me.AccountID && !me.ReachesAll() {
		return domain.Account{}, fault.NotFound.With("no such account")
	}
	return a, err
}
