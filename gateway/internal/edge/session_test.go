package edge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
)

// auth is an auth service with scripted answers, which take a second.
type auth struct {
	authpb.TokenServiceClient
	mu    sync.Mutex
	asked int
	life  time.Duration
	err   error
}

func (a *auth) Introspect(ctx context.Context, r *authpb.IntrospectRequest, _ ...grpc.CallOption) (*authpb.IntrospectResponse, error) {
	if md, _ := metadata.FromOutgoingContext(ctx); len(md.Get(identity.MetadataKey)) > 0 {
		return nil, identity.ErrInvalid // as auth answers a call with an identity that it has revoked
	}
	a.mu.Lock()
	a.asked++
	life, err := a.life, a.err
	a.mu.Unlock()
	expires := timestamppb.New(time.Now().Add(life))
	time.Sleep(time.Second)
	if err != nil {
		return nil, err
	}
	return &authpb.IntrospectResponse{Identity: "signed " + r.GetToken(), AccountId: 3, SessionId: 30, ExpiresAt: expires}, nil
}

func (a *auth) answer(err error) { a.mu.Lock(); defer a.mu.Unlock(); a.err = err }

// bubble runs a test with a fake clock.
func bubble(t *testing.T, f func(t *testing.T, s *Sessions, a *auth)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &auth{life: time.Hour}
		f(t, NewSessions(a, 0), a)
	})
}

func find(t *testing.T, s *Sessions, wantKnown bool) {
	t.Helper()
	got, known, err := s.Find(t.Context(), "tok")
	if err != nil || known != wantKnown || known && got.Identity("vm") != "signed tok" {
		t.Errorf("%+v %v %v, want known %v", got, known, err, wantKnown)
	}
}

func asked(t *testing.T, a *auth, want int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked != want {
		t.Errorf("auth was asked %d times, want %d", a.asked, want)
	}
}

func TestManyAskOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *Sessions, a *auth) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { find(t, s, true) })
		}
		wg.Wait()
		asked(t, a, 1)
		time.Sleep(3900 * time.Millisecond) // 4.9 s after the question
		find(t, s, true)
		asked(t, a, 1)
		time.Sleep(200 * time.Millisecond)
		find(t, s, true)
		asked(t, a, 2)
	})
}

func TestNeverPastTheIdentity(t *testing.T) {
	bubble(t, func(t *testing.T, s *Sessions, a *auth) {
		a.life = 2 * time.Second
		find(t, s, true)
		time.Sleep(900 * time.Millisecond)
		find(t, s, true)
		asked(t, a, 1)
		time.Sleep(200 * time.Millisecond)
		find(t, s, true)
		asked(t, a, 2)
	})
}

func TestUnknownIsRememberedShortly(t *testing.T) {
	bubble(t, func(t *testing.T, s *Sessions, a *auth) {
		a.answer(fault.Unauthenticated)
		find(t, s, false)
		find(t, s, false)
		asked(t, a, 1)
		time.Sleep(1100 * time.Millisecond)
		a.answer(nil)
		find(t, s, true)
		asked(t, a, 2)
	})
}

func TestTroubleIsNotRemembered(t *testing.T) {
	bubble(t, func(t *testing.T, s *Sessions, a *auth) {
		for _, tt := range []struct{ err, want error }{
			{fault.Unavailable, fault.Unavailable},
			{context.DeadlineExceeded, fault.Unavailable},
			{errors.New("bug"), fault.Internal},
			{fault.Denied, fault.Internal},
		} {
			a.answer(tt.err)
			if _, known, err := s.Find(t.Context(), "tok"); known || !errors.Is(err, tt.want) {
				t.Errorf("%v: %v %v", tt.err, known, err)
			}
		}
		a.answer(nil)
		find(t, s, true)
	})
}

func TestRevoke(t *testing.T) {
	bubble(t, func(t *testing.T, s *Sessions, a *auth) {
		want := 1
		find(t, s, true)
		for _, other := range [][2]int32{{31, 3}, {0, 4}} {
			s.Revoke(other[0], other[1])
			find(t, s, true)
			asked(t, a, want)
		}
		for _, f := range []func(){func() { s.Revoke(30, 3) }, func() { s.Revoke(0, 3) }, s.ForgetAll} {
			f()
			want++
			find(t, s, true)
			asked(t, a, want)
		}
	})
}

// TestRevokeDuringTheQuestion: what auth said before the revocation must not be remembered after it, nor be waited for.
func TestRevokeDuringTheQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, s *Sessions, a *auth) {
		go func() { _, _, _ = s.Find(t.Context(), "tok") }()
		time.Sleep(500 * time.Millisecond)
		a.answer(fault.Unauthenticated)
		s.Revoke(30, 3)
		find(t, s, false)
		find(t, s, false)
		asked(t, a, 2)
	})
}

func TestCallerWhoLeavesDoesNotEndTheQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, s *Sessions, a *auth) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, _, err := s.Find(ctx, "tok"); !errors.Is(err, fault.Unavailable) {
			t.Error(err)
		}
		find(t, s, true)
		asked(t, a, 1)
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	s := NewSessions(nil, 0)
	for i := range 2*maxSessions + 10 {
		var k tokenHash
		copy(k[:], fmt.Sprint(i))
		known, unknown := &flight{known: true, session: Session{until: s.now().Add(time.Hour)}}, &flight{}
		s.flights[k] = known
		s.keep(k, known)
		k[31] = 1
		s.flights[k] = unknown
		s.keep(k, unknown)
	}
	if len(s.live) > maxSessions || len(s.unknown) > maxSessions || len(s.flights) != 0 || len(s.live) < maxSessions/2 {
		t.Errorf("%d live, %d unknown, %d flights", len(s.live), len(s.unknown), len(s.flights))
	}
}

// TestBoundToAddress: what auth says of a token counts for the address that it was asked about, and for no other; be it
// good or bad.
func TestBoundToAddress(t *testing.T) {
	t.Parallel()
	a := &addressed{}
	s := NewSessions(a, 0)
	for range 3 {
		for client, want := range map[string]bool{"192.0.2.1": true, "198.51.100.1": false} {
			ctx := context.WithValue(t.Context(), requestKey{}, &Request{Client: client})
			if _, known, err := s.Find(ctx, "tok"); err != nil || known != want {
				t.Errorf("%s: %v %v, want %v", client, known, err, want)
			}
		}
	}
	if n := a.asked.Load(); n != 2 {
		t.Errorf("auth was asked %d times, want once for each address", n)
	}
}

// addressed knows a token from one address alone.
type addressed struct {
	authpb.TokenServiceClient
	asked atomic.Int32
}

func (a *addressed) Introspect(ctx context.Context, _ *authpb.IntrospectRequest, _ ...grpc.CallOption) (*authpb.IntrospectResponse, error) {
	a.asked.Add(1)
	md, _ := metadata.FromOutgoingContext(ctx)
	if ip := md.Get(rpc.ClientIPKey); len(ip) != 1 || ip[0] != "192.0.2.1" {
		return nil, fault.Unauthenticated
	}
	return &authpb.IntrospectResponse{Identity: "signed", AccountId: 3, SessionId: 30, ExpiresAt: timestamppb.New(time.Now().Add(time.Hour))}, nil
}

// TestGuesses: an address that sends unknown tokens is bounded, others and tokens that were good are not.
func TestGuesses(t *testing.T) {
	bubble(t, func(t *testing.T, s *Sessions, a *auth) {
		from := func(client, token string) error {
			_, _, err := s.Find(context.WithValue(t.Context(), requestKey{}, &Request{Client: client}), token)
			return err
		}
		if err := from("203.0.113.7", "good"); err != nil {
			t.Fatal(err)
		}
		a.answer(fault.NotFound)
		var refused atomic.Int32
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				if errors.Is(from("203.0.113.7", fmt.Sprint("guess ", i)), ErrGuesses) {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if n := refused.Load(); n != 1000-missBurst || a.asked != missBurst+1 {
			t.Errorf("%d of 1000 guesses refused, auth was asked %d times", n, a.asked)
		}
		if err := from("203.0.113.8", "guess"); err != nil {
			t.Errorf("another address: %v", err)
		}
		a.answer(nil)
		time.Sleep(6 * time.Second) // the session is asked for anew
		if err := from("203.0.113.7", "good"); err != nil {
			t.Errorf("a token that was good: %v", err)
		}
		if err := from("2001:db8::1", "x"); err != nil {
			t.Error(err)
		}
		if network("2001:db8::1") != network("2001:db8::2") || network("2001:db8:0:1::") == network("2001:db8::") {
			t.Error("an address of IPv6 is a /64")
		}
	})
}

// TestRenew: a refused identity is asked for again, once, unless a newer one is known.
func TestRenew(t *testing.T) {
	bubble(t, func(t *testing.T, s *Sessions, a *auth) {
		find(t, s, true)
		if _, ok, err := s.Renew(t.Context(), "tok", "older"); !ok || err != nil || a.asked != 1 {
			t.Errorf("a newer one is known: %v %v, asked %d times", ok, err, a.asked)
		}
		if got, ok, err := s.Renew(t.Context(), "tok", "signed tok"); !ok || err != nil || got.Identity("vm") != "signed tok" || a.asked != 2 {
			t.Errorf("%v %v %v, asked %d times", got, ok, err, a.asked)
		}
		refused := metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, "signed tok")
		if _, ok, err := s.Renew(refused, "tok", "signed tok"); !ok || err != nil || a.asked != 3 {
			t.Errorf("from the context of the refused call: %v %v, asked %d times", ok, err, a.asked)
		}
		a.answer(fault.NotFound)
		if _, ok, err := s.Renew(t.Context(), "tok", "signed tok"); ok || err != nil || a.asked != 4 {
			t.Errorf("gone: %v %v, asked %d times", ok, err, a.asked)
		}
	})
}
