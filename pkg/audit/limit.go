package audit

import (
	"sync"
	"time"
)

// perMinute is how many refused calls of one account are recorded in a minute, so that a misbehaving account cannot fill the
// disk with denied calls.
const perMinute = 120

// Limit bounds how many refused calls are recorded. The zero value is ready to use.
type Limit struct {
	mu     sync.Mutex
	begun  time.Time
	counts map[int32]int
}

// Allow counts a refused call of an account and reports whether to record the call. first is true for the first call that is
// not recorded.
func (l *Limit) Allow(account int32, now time.Time) (ok, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.begun) >= time.Minute {
		l.begun, l.counts = now, map[int32]int{}
	}
	l.counts[account]++
	n := l.counts[account]
	return n <= perMinute || account == 0, n == perMinute+1
}
