package rest

import (
	"errors"
	"testing"
	"time"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
)

func TestRates(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	k := NewRates(5, 50)
	k.now = func() time.Time { return now }
	by := func(account int32, admin bool) *edge.Request {
		return &edge.Request{Account: account, Known: true, Session: edge.Session{AccountID: account, Admin: admin}}
	}
	allowed := func(q *edge.Request, tries int) (n int) {
		for range tries {
			err := k.take(q)
			if err == nil {
				n++
				continue
			}
			f, ok := fault.From(err)
			if !ok || !errors.Is(err, errTooFast) || f.RetryAfter <= 0 || f.RetryAfter > time.Second {
				t.Fatalf("refused with %v", err)
			}
		}
		return n
	}
	for _, step := range []struct {
		name  string
		after time.Duration
		q     *edge.Request
		want  int
	}{
		{"a burst", 0, by(1, false), 100},
		{"what was refused costs nothing", time.Second, by(1, false), 5},
		{"another account", 0, by(2, false), 100},
		{"an administrator", 0, by(3, true), 1000},
		{"after a rest", time.Hour, by(1, false), 100},
		{"nobody known", 0, &edge.Request{}, 5000},
	} {
		now = now.Add(step.after)
		if got := allowed(step.q, 5000); got != step.want {
			t.Errorf("%s: %d of 5000, want %d", step.name, got, step.want)
		}
	}
	now = now.Add(time.Hour)
	for i := range int32(maxAccounts + 10) {
		_ = k.take(by(i, false))
	}
	if len(k.accounts) > maxAccounts {
		t.Errorf("%d accounts are counted", len(k.accounts))
	}
	free := NewRates(0, 0)
	for range 10_000 {
		if err := free.take(by(1, false)); err != nil {
			t.Fatal(err)
		}
	}
}
