package sshkey

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/caller"
)

// SSHKeys answers the rpcs of UserService about SSH keys.
type SSHKeys struct {
	db     *unit.DB
	access caller.Access
}

// New makes an SSHKeys.
func New(db *unit.DB, x caller.Access) *SSHKeys { return &SSHKeys{db, x} }

// AddSSHKey stores a key of the caller, or of any account when the caller is an administrator.
func (s *SSHKeys) AddSSHKey(ctx context.Context, r *authpb.AddSSHKeyRequest) (*authpb.AddSSHKeyResponse, error) {
	a, err := s.access.Mine(ctx, r.GetAccount())
	if err != nil {
		return nil, err
	}
	k, err := parse(r.GetName(), r.GetSshPubKey())
	if err != nil {
		return nil, err
	}
	var resp *authpb.AddSSHKeyResponse
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := s.access.CheckReach(ctx, tx, a.ID); err != nil {
			return err
		}
		id, err := add(ctx, tx, a.ID, k)
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

// ListSSHKeys lists the keys of the caller, or of any account when the caller may see everything.
func (s *SSHKeys) ListSSHKeys(ctx context.Context, r *authpb.ListSSHKeysRequest) (*authpb.ListSSHKeysResponse, error) {
	a, err := s.access.Mine(ctx, r.GetAccount())
	if err != nil {
		return nil, err
	}
	l, err := list(ctx, s.db, r.GetQuery(), a.ID)
	if err != nil {
		return nil, err
	}
	return &authpb.ListSSHKeysResponse{LastNotify: l.LastNotify, Size: l.Size, List: show(l.Rows)}, nil
}

// DeleteSSHKey removes a key of the caller, or of any account when the caller is an administrator.
func (s *SSHKeys) DeleteSSHKey(ctx context.Context, r *authpb.DeleteSSHKeyRequest) (*authpb.DeleteSSHKeyResponse, error) {
	a, err := s.access.Mine(ctx, r.GetAccount())
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := s.access.CheckReach(ctx, tx, a.ID); err != nil {
			return err
		}
		audit.Of(ctx).Object("user", a.ID)
		audit.Of(ctx).Change(map[string]any{"ssh_key": r.GetId()}, nil)
		return remove(ctx, tx, a.ID, r.GetId())
	})
	if err != nil {
		return nil, err
	}
	return &authpb.DeleteSSHKeyResponse{Id: r.GetId()}, nil
}

// ListSSHKeysOf returns all keys of an account to a service: no page, no filter.
func (s *SSHKeys) ListSSHKeysOf(ctx context.Context, r *authpb.ListSSHKeysOfRequest) (*authpb.ListSSHKeysResponse, error) {
	keys, err := all(ctx, s.db, r.GetUser())
	if err != nil {
		return nil, err
	}
	return &authpb.ListSSHKeysResponse{Size: clamp.Int32(len(keys)), List: show(keys)}, nil
}

func show(keys []sshKey) []*authpb.SSHKey {
	list := make([]*authpb.SSHKey, len(keys))
	for i, k := range keys {
		list[i] = &authpb.SSHKey{Id: k.ID, Name: k.Name, SshPubKey: k.PublicKey}
	}
	return list
}
