package rest

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
)

const (
	// burstTime is for how long a rate may be exceeded twofold, by an account that changed nothing before.
	burstTime = 20 * time.Second
	// maxAccounts is the greatest number of accounts whose changes are counted.
	maxAccounts = 50_000
)

// errTooFast refuses a change by an account that changes too much in a short time.
var errTooFast = fault.New(codes.ResourceExhausted, "TOO_MANY_CHANGES", "the account makes too many changes in a short time, wait a while")

// Rates limits how many changes each account may ask for. A request counts whatever its answer is, except that of a refusal by
// Rates.
type Rates struct {
	user, admin rate.Limit
	now         func() time.Time

	mu       sync.Mutex
	accounts map[int32]*rate.Limiter
}

// NewRates returns a Rates for so many changes a second by an account and by an administrator; 0 is without limit.
func NewRates(user, admin int) *Rates {
	return &Rates{user: limitOf(user), admin: limitOf(admin), now: time.Now, accounts: map[int32]*rate.Limiter{}}
}

func limitOf(perSecond int) rate.Limit {
	if perSecond <= 0 {
		return rate.Inf
	}
	return rate.Limit(perSecond)
}

// take counts a change by the caller of a request. The error is errTooFast with the time to wait.
func (k *Rates) take(q *edge.Request) error {
	if k == nil || !q.Known {
		return nil
	}
	limit := k.user
	if q.Session.Admin {
		limit = k.admin
	}
	if limit == rate.Inf {
		return nil
	}
	now := k.now()
	r := k.of(q.Account, limit, now).ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return errTooFast.After(wait)
	}
	return nil
}

// of returns the limiter of an account.
func (k *Rates) of(account int32, limit rate.Limit, now time.Time) *rate.Limiter {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.accounts[account]
	if l != nil && l.Limit() == limit {
		return l
	}
	if len(k.accounts) >= maxAccounts {
		k.sweep(now)
	}
	l = rate.NewLimiter(limit, int(float64(limit)*burstTime.Seconds()))
	k.accounts[account] = l
	return l
}

// sweep forgets accounts that may change as much as one that is not known, and all if these are too few.
func (k *Rates) sweep(now time.Time) {
	for account, l := range k.accounts {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(k.accounts, account)
		}
	}
	if len(k.accounts) >= maxAccounts {
		clear(k.accounts)
	}
}
