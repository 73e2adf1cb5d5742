// Package account keeps vm's copy of auth's accounts, and what the hosts of each account may use and do use.
package account

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/unit"
)

// Directory finds accounts: in vm's copy, which may lag behind auth, and at auth.
type Directory struct {
	db    *unit.DB
	users authpb.UserServiceClient
}

// NewDirectory returns a Directory.
func NewDirectory(db *unit.DB, users authpb.UserServiceClient) *Directory {
	return &Directory{db, users}
}

// Find checks that an account exists. It asks auth, and keeps the answer, if vm's copy lacks the account.
func (d *Directory) Find(ctx context.Context, id int32) error {
	if _, err := find(ctx, d.db, id, 0); err == nil {
		return nil
	}
	u, err := d.users.GetUser(ctx, &authpb.GetUserRequest{Id: id})
	if err != nil {
		return err
	}
	return d.db.Aside(ctx, func(tx *unit.Tx) error { return keep(ctx, tx, u) })
}

// SSHKeys returns the public keys that an account puts on its hosts.
func (d *Directory) SSHKeys(ctx context.Context, id int32) ([]string, error) {
	resp, err := d.users.ListSSHKeysOf(ctx, &authpb.ListSSHKeysOfRequest{User: id})
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, k := range resp.GetList() {
		keys = append(keys, k.GetSshPubKey())
	}
	return keys, nil
}

// Changed keeps what an event says of an account. A second delivery changes nothing.
func Changed(ctx context.Context, tx *unit.Tx, u *authpb.UserChanged) error { return keep(ctx, tx, u) }
