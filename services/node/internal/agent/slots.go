package agent

import (
	"context"
	"sync"
)

// slots bounds what goes on at the same time: in all, and of one account, so that an account that keeps its slots for long leaves
// some to others. Account 0 is bounded as all together are.
type slots struct {
	all   chan struct{}
	ofOne int

	mu    sync.Mutex
	parts map[int32]*part // of the accounts that have a slot or wait for one
}

// part are the slots of one account.
type part struct {
	taken chan struct{}
	users int
}

func newSlots(all, ofOne int) *slots {
	return &slots{all: make(chan struct{}, all), ofOne: ofOne, parts: map[int32]*part{}}
}

// take waits for a slot and returns a function that gives it back. An account waits for one of its own slots first, and holds up no
// other meanwhile.
func (s *slots) take(ctx context.Context, account int32) (free func(), err error) {
	own := s.enter(account)
	if err := push(ctx, own.taken); err != nil {
		s.leave(account)
		return nil, err
	}
	if err := push(ctx, s.all); err != nil {
		<-own.taken
		s.leave(account)
		return nil, err
	}
	return func() {
		<-s.all
		<-own.taken
		s.leave(account)
	}, nil
}

func push(ctx context.Context, to chan struct{}) error {
	select {
	case to <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slots) enter(account int32) *part {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[account]
	if p == nil {
		n := s.ofOne
		if account == 0 {
			n = cap(s.all)
		}
		p = &part{taken: make(chan struct{}, n)}
		s.parts[account] = p
	}
	p.users++
	return p
}

func (s *slots) leave(account int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[account]; p.users > 1 {
		p.users--
	} else {
		delete(s.parts, account)
	}
}
