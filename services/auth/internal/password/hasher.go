package password

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"

	"slipway.dev/services/auth/internal/guess"
)

// params are OWASP's for argon2id: 19 MiB and some 25 ms for each.
var params = argon2id.Params{Memory: 19456, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

const (
	entered = 64 // at once, with those that are computed
	// busy is when to come again: the queue is through in less.
	busy = 2 * time.Second
)

// atOnce leaves half of the processors to other work, however many clients log in.
var atOnce = min(max(1, runtime.GOMAXPROCS(0)/2), 2)

// hasher computes few hashes at once and lets few callers wait; it refuses the others. Without that a flood
// of logins takes all memory and processors.
type hasher struct {
	queue, slots chan struct{}
	dummy        string
	computed     atomic.Int64
}

// newHasher makes a hasher.
func newHasher() (*hasher, error) {
	dummy, err := argon2id.CreateHash("nobody", &params)
	if err != nil {
		return nil, err
	}
	return &hasher{
		queue: make(chan struct{}, entered), slots: make(chan struct{}, atOnce), dummy: dummy,
	}, nil
}

// enter takes a place in the queue, or refuses at once with guess.ErrLimited. A login enters before it touches the
// database, so that a flood of them costs next to nothing. The func leaves again.
func (h *hasher) enter() (leave func(), err error) {
	select {
	case h.queue <- struct{}{}:
		return func() { <-h.queue }, nil
	default:
		return nil, guess.ErrLimited.After(busy)
	}
}

// hash returns the hash of a new password, in its composed form of Unicode. The caller has entered.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	leave, err := h.slot(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	h.computed.Add(1)
	return argon2id.CreateHash(norm.NFC.String(password), &params)
}

// check reports whether the password has this hash. It takes as long for "", the hash of no account, and reports false.
// stale asks for a new hash, because this one was made with other parameters or of another form of the same text. The
// caller has entered.
func (h *hasher) check(ctx context.Context, password, hash string) (ok, stale bool, err error) {
	composed := norm.NFC.String(password)
	ok, stale, err = h.compare(ctx, composed, hash)
	if ok || err != nil || composed == password {
		return ok, stale, err
	}
	ok, _, err = h.compare(ctx, password, hash) // as it was typed, for a hash of the version before
	return ok, true, err
}

// compare reports whether the text of a password has this hash, as check does.
func (h *hasher) compare(ctx context.Context, password, hash string) (ok, stale bool, err error) {
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

func (h *hasher) slot(ctx context.Context) (leave func(), err error) {
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
