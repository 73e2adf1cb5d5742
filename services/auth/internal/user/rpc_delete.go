package user

import (
	"context"
	"strconv"
	"time"

	authpb "slipway.dev/proto/auth/v4"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/credential"
)

// DeleteUser removes an account. What other services have of the account goes to its heir by the event of the
// deletion. The answer waits for vm, so that a client that has the answer sees the hosts at the heir; while vm is
// away the client may see them at the deleted account for longer.
func (s *Users) DeleteUser(ctx context.Context, r *authpb.DeleteUserRequest) (*authpb.DeleteUserResponse, error) {
	if err := s.checkHosts(ctx, r.GetId()); err != nil {
		return nil, err
	}
	err := s.access.Administer(ctx, r.GetId(), func(tx *unit.Tx, by identity.Identity, a *account.Account) error {
		if err := account.KeepAdmin(ctx, tx, *a, account.Account{}); err != nil {
			return err
		}
		heir, err := account.Heir(ctx, tx, a.ID, by.AccountID)
		if err != nil {
			return err
		}
		audit.Of(ctx).Change(record(*a), map[string]any{"heir": heir})
		if err := credential.OutdateMade(ctx, tx, a.ID); err != nil {
			return err
		}
		return account.Delete(ctx, tx, &authpb.UserDeleted{
			Id: a.ID, Heir: heir, ActorId: by.AccountID, Actor: by.Name(), RequestId: rpc.RequestID(ctx),
		})
	})
	if err != nil {
		return nil, err
	}
	s.awaitHeir(ctx, r.GetId())
	return &authpb.DeleteUserResponse{Id: r.GetId()}, nil
}

// checkHosts refuses to delete an account that has hosts, where the setting says so. A host that is created meanwhile
// goes to the heir.
func (s *Users) checkHosts(ctx context.Context, id int32) error {
	gives, err := givesHosts(ctx, s.db)
	if err != nil || gives {
		return err
	}
	if _, err := s.access.Mine(ctx, strconv.Itoa(int(id))); err != nil { // callers who may not see the account learn nothing
		return err
	}
	if s.hosts == nil {
		return errUncounted
	}
	n, err := s.hosts.CountHosts(ctx, &vmpb.CountHostsRequest{Account: id})
	switch {
	case err != nil:
		return errUncounted.Wrap(err)
	case n.GetHosts() > 0:
		return errHasHosts.With("the account has hosts: %d; delete them, or give them to another account, first", n.GetHosts())
	}
	return nil
}

// heirMost is how long the answer to a deletion waits for vm.
const heirMost = 5 * time.Second

// awaitHeir waits until vm has given the hosts of a deleted account to its heir. An error is dropped: the account is
// deleted, and vm will do so.
func (s *Users) awaitHeir(ctx context.Context, id int32) {
	if s.hosts == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, heirMost)
	defer cancel()
	_, _ = s.hosts.AwaitHeir(ctx, &vmpb.AwaitHeirRequest{Account: id})
}

// ListUserIDs lists the ids of all accounts. For services.
func (s *Users) ListUserIDs(ctx context.Context, r *authpb.ListUserIDsRequest) (*authpb.ListUserIDsResponse, error) {
	ids, err := account.IDsAfter(ctx, s.db, r.GetAfter())
	if err != nil {
		return nil, err
	}
	return &authpb.ListUserIDsResponse{Ids: ids}, nil
}
