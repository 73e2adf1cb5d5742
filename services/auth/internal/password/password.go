// Package password hashes passwords at a price that is the same for everybody and bounded for the machine.
package password

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"

	"slipway.dev/services/auth/internal/domain"
)

// params are OWASP's for argon2id: 19 MiB and some 25 ms for each.
var params = argon2id.Params{Memory: 19456, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

const (
	entered = 64 // at once, with those that are computed
	// busy is when to come again: the queue is through in less.
	busy = 2 * time.Second
)

// atOnce leaves half of the processors to everybody else, however many log in.
var atOnce = min(max(1, runtime.GOMAXPROCS(0)/2), 2)

// Hasher lets few hashes be computed at once and few wait for it; the rest are told to come again. Without that a flood
// of logins takes all memory and processors.
type Hasher struct {
	queue, slots chan struct{}
	dummy        string
	computed     atomic.Int64
}

// New makes a Hasher.
func New() (*Hasher, error) {
	dummy, err := argon2id.CreateHash("nobody", &params)
	if err != nil {
		return nil, err
	}
	return &Hasher{
		queue: make(chan struct{}, entered), slots: make(chan struct{}, atOnce), dummy: dummy,
	}, nil
}

// Enter takes a place in the queue, or refuses at once with domain.ErrRateLimited. A login enters before it touches the
// database, so that a flood of them costs next to nothing. The func leaves again.
func (h *Hasher) Enter() (leave func(), err error) {
	select {
	case h.queue <- struct{}{}:
		return func() { <-h.queue }, nil
	default:
		return nil, domain.ErrRateLimited.After(busy)
	}
}

// Hash returns the hash of a new password. The caller has entered.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	leave, err := h.slot(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	h.computed.Add(1)
	return argon2id.CreateHash(password, &params)
}

// Computed is how many hashes were computed so far.
func (h *Hasher) Computed() int64 { return h.computed.Load() }

// Check reports whether the password has this hash. It takes as long for "", the hash of nobody, and says no. stale
// asks for a new hash, because this one was made with other parameters. The caller has entered.
func (h *Hasher) Check(ctx context.Context, password, hash string) (ok, stale bool, err error) {
	leave, err := h.slot(ctx)
	if err != nil {
		return false, false, err
	}
	defer leave()
	against := hash
	if against == "" {
		against = h.dummy
	}
	h.computed.Add(1)
	ok, used, err := argon2id.CheckHash(password, against)
	if err != nil {
		return false, false, err
	}
	return ok && hash != "", *used != params, nil
}

func (h *Hasher) slot(ctx context.Context) (leave func(), err error) {
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
