// Package account keeps vm's copy of auth's accounts, and what the hosts of each account may use and do use.
package account

import (
	"context"
	"errors"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
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

// Named is Find for an account that a request names: one that does not exist makes the request wrong, with status 400, because clients
// print the body of 400 only.
func (d *Directory) Named(ctx context.Context, id int32) error {
	err := d.Find(ctx, id)
	if f, ok := fault.From(err); ok && errors.Is(f, fault.NotFound) {
		return missing(id)
	}
	return err
}

// Owner returns the owner of what the caller makes: the caller, or the account that the request names if the caller may act for it.
func (d *Directory) Owner(ctx context.Context, named int32) (int32, error) {
	caller, _ := identity.From(ctx)
	switch {
	case named == 0 || named == caller.AccountID:
		return caller.AccountID, nil
	case !caller.ReachesAll():
		return 0, missing(named)
	}
	return named, d.Named(ctx, named)
}

// OfOwner returns err as the caller understands it. An account that was deleted while the request was under way does not exist: the one
// that the request names, or the caller itself.
func OfOwner(err error, named int32) error {
	switch {
	case !errors.Is(err, ErrLeft):
		return err
	case named != 0:
		return missing(named)
	default:
		return identity.ErrInvalid
	}
}

func missing(id int32) error { return fault.Invalid.With("there is no account %d", id).On("account") }

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
