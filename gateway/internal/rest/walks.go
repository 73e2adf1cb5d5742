package rest

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Limits of the answers of several pages that a gateway writes at the same time.
const (
	maxWalks   = 32
	maxWalksOf = 8 // for one account
	walkWait   = 20 * time.Second
)

// errWalks refuses a long list while the account, or all accounts, read as many as allowed.
var errWalks = fault.New(codes.ResourceExhausted, "TOO_MANY_LISTS", "too many long lists are read at the same time").After(5 * time.Second)

// walks limits the answers of several pages that are written at the same time, for each account and in all, because
// their clients may read slowly.
type walks struct {
	all *semaphore.Weighted
	of  int64

	mu       sync.Mutex
	accounts map[int32]*accountWalks
}

// accountWalks are the walks of an account, which are forgotten when no request has or awaits one.
type accountWalks struct {
	slots *semaphore.Weighted
	users int
}

func newWalks(all, of int64) *walks {
	return &walks{all: semaphore.NewWeighted(all), of: of, accounts: map[int32]*accountWalks{}}
}

// join returns the walks of an account, of which the caller is a user until it leaves.
func (k *walks) join(account int32) *accountWalks {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.accounts[account]
	if a == nil {
		a = &accountWalks{slots: semaphore.NewWeighted(k.of)}
		k.accounts[account] = a
	}
	a.users++
	return a
}

func (k *walks) leave(account int32, a *accountWalks) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a.users--; a.users == 0 {
		delete(k.accounts, account)
	}
}

// try takes a walk for an account if there is a free one.
func (k *walks) try(account int32) bool {
	a := k.join(account)
	if !a.slots.TryAcquire(1) {
		k.leave(account, a)
		return false
	}
	if !k.all.TryAcquire(1) {
		a.slots.Release(1)
		k.leave(account, a)
		return false
	}
	return true
}

// wait takes a walk for an account and waits up to walkWait for a free one.
func (k *walks) wait(ctx context.Context, account int32) error {
	ctx, cancel := context.WithTimeout(ctx, walkWait)
	defer cancel()
	a := k.join(account)
	if err := a.slots.Acquire(ctx, 1); err != nil {
		k.leave(account, a)
		return errWalks.Wrap(err)
	}
	if err := k.all.Acquire(ctx, 1); err != nil {
		a.slots.Release(1)
		k.leave(account, a)
		return errWalks.Wrap(err)
	}
	return nil
}

// free returns a walk of an account.
func (k *walks) free(account int32) {
	k.mu.Lock()
	a := k.accounts[account]
	k.mu.Unlock()
	k.all.Release(1)
	a.slots.Release(1)
	k.leave(account, a)
}
