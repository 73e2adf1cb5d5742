package edge

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/rpc"
)

const (
	maxSessions   = 50_000
	missTTL       = time.Second
	introspectFor = 5 * time.Second
)

// Session is a live token.
type Session struct {
	AccountID int32
	ID        int32
	// Admin: the account is an administrator.
	Admin bool

	identities map[string]string // signed, by the service that they are for
	identity   string            // for every service, from an auth of the version before
	until      time.Time
}

// Identity returns the signed identity for a service, or "" if there is none.
func (s Session) Identity(service string) string {
	if text, ok := s.identities[service]; ok {
		return text
	}
	return s.identity
}

// has reports whether a signed identity is one of the session's.
func (s Session) has(identity string) bool {
	for _, text := range s.identities {
		if text == identity {
			return true
		}
	}
	return identity != "" && s.identity == identity
}

// Sessions caches the session of a token for a few seconds, by a hash of the token and the client's address, because
// some tokens are limited to some addresses. A revocation removes a session at once; the short lifetime covers
// revocations that got lost.
type Sessions struct {
	auth      authpb.TokenServiceClient
	ttl       time.Duration
	now       func() time.Time
	audiences []string

	mu      sync.RWMutex
	live    map[tokenHash]Session
	misses  misses
	unknown map[tokenHash]time.Time // until when; apart, so that guessing tokens drives no session out
	flights map[tokenHash]*flight
}

type tokenHash [sha256.Size]byte

// flight is a lookup at auth that all requests with the same token wait for.
type flight struct {
	done    chan struct{}
	session Session
	known   bool
	err     error

	client  string
	counted bool // as a miss, until auth answers otherwise
}

// NewSessions returns a cache that asks auth for identities for the services of these names, and keeps answers for ttl; 0 means
// 5 s.
func NewSessions(auth authpb.TokenServiceClient, ttl time.Duration, audiences ...string) *Sessions {
	if ttl <= 0 {
		ttl = 5 * time.Second
	}
	s := &Sessions{auth: auth, ttl: ttl, now: time.Now, misses: misses{}, audiences: audiences}
	s.ForgetAll()
	return s
}

// Find returns the session of a token; false if auth does not know the token. An error means that auth could not be
// asked.
func (s *Sessions) Find(ctx context.Context, token string) (Session, bool, error) {
	key := hashOf(token, Of(ctx).Client)
	now := s.now()
	s.mu.RLock()
	found, ok := s.live[key]
	until, miss := s.unknown[key]
	s.mu.RUnlock()
	switch {
	case ok && now.Before(found.until):
		return found, true, nil
	case miss && now.Before(until):
		return Session{}, false, nil
	}
	f, wait := s.fly(ctx, key, token)
	if wait > 0 {
		return Session{}, false, ErrGuesses.After(wait)
	}
	select {
	case <-f.done:
		return f.session, f.known, f.err
	case <-ctx.Done():
		return Session{}, false, fault.Unavailable.Wrap(ctx.Err())
	}
}

// rank returns 0 for a token that had a session when auth was last asked, else 1.
func (s *Sessions) rank(ctx context.Context, token string) int {
	key := hashOf(token, Of(ctx).Client)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, ok := s.live[key]; ok {
		return 0
	}
	return 1
}

// Renew returns the session of a token after a service refused the identity stale: services may learn of a change of rights
// before the gateway does. It asks auth, unless the gateway knows a newer identity already.
func (s *Sessions) Renew(ctx context.Context, token, stale string) (Session, bool, error) {
	key := hashOf(token, Of(ctx).Client)
	s.mu.Lock()
	if found, ok := s.live[key]; ok && found.has(stale) {
		found.until = time.Time{}
		s.live[key] = found
		delete(s.flights, key) // it may bring the same
	}
	s.mu.Unlock()
	return s.Find(ctx, token)
}

// hashOf uses a separator that occurs in no address and in no token.
func hashOf(token, client string) tokenHash {
	var room [192]byte // on the stack: this is done for every request
	text := append(append(append(room[:0], token...), 0), client...)
	return sha256.Sum256(text)
}

// fly joins the flight for a token or starts it. The flight goes on when its caller is gone. An address with too many
// misses gets no flight and must wait; a token that was valid a moment ago is not counted as a guess.
func (s *Sessions) fly(ctx context.Context, key tokenHash, token string) (*flight, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.flights[key]; ok {
		return f, 0
	}
	f := &flight{done: make(chan struct{}), client: Of(ctx).Client}
	if _, ok := s.live[key]; !ok {
		if wait := s.misses.take(f.client, s.now()); wait > 0 {
			return nil, wait
		}
		f.counted = true
	}
	s.flights[key] = f
	go func() {
		defer close(f.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), introspectFor)
		defer cancel()
		s.ask(ctx, f, token)
		s.keep(key, f)
	}()
	return f, 0
}

func (s *Sessions) ask(ctx context.Context, f *flight, token string) {
	q := Of(ctx)
	// Nothing else of ctx goes along: with the identity that a service has just refused, auth would refuse this call too.
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs(rpc.RequestIDKey, q.ID, rpc.ClientIPKey, q.Client))
	asked := s.now()
	resp, err := s.auth.Introspect(ctx, &authpb.IntrospectRequest{Token: token, Audiences: s.audiences})
	if err != nil {
		f.err = notFound(err)
		return
	}
	f.known = true
	f.session = Session{
		AccountID: resp.GetAccountId(), ID: resp.GetSessionId(), Admin: resp.GetAdmin(),
		identities: resp.GetIdentities(), identity: resp.GetIdentity(), until: asked.Add(s.ttl),
	}
	if end := resp.GetExpiresAt(); end.IsValid() && end.AsTime().Before(f.session.until) {
		f.session.until = end.AsTime()
	}
}

// notFound returns nil if err means that there is no such token, else the error for the client, which asks it to
// repeat the request if that may help.
func notFound(err error) error {
	f, ok := fault.From(err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			return fault.Unavailable.Wrap(err)
		}
		return fault.Internal.Wrap(err)
	}
	switch f.Code {
	case codes.Unauthenticated, codes.NotFound, codes.InvalidArgument:
		return nil
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.ResourceExhausted:
		return fault.Unavailable.Wrap(err)
	default:
		return fault.Internal.Wrap(err)
	}
}

// keep caches an answer, unless a revocation arrived in the meantime, because that session may be the revoked one.
func (s *Sessions) keep(key tokenHash, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.counted && (f.known || f.err != nil) {
		s.misses.found(f.client)
	}
	if s.flights[key] != f {
		return
	}
	delete(s.flights, key)
	switch {
	case f.known:
		if len(s.live) >= maxSessions {
			s.sweep()
		}
		s.live[key] = f.session
	case f.err == nil:
		delete(s.live, key)
		if len(s.unknown) >= maxSessions {
			clear(s.unknown)
		}
		s.unknown[key] = s.now().Add(missTTL)
	}
}

// sweep makes room in the cache: it removes expired entries first, then any.
func (s *Sessions) sweep() {
	now := s.now()
	for k, v := range s.live {
		if !now.Before(v.until) {
			delete(s.live, k)
		}
	}
	for k := range s.live {
		if len(s.live) < maxSessions*3/4 {
			return
		}
		delete(s.live, k)
	}
}

// Revoke removes a session from the cache, or all sessions of an account if session is 0.
func (s *Sessions) Revoke(session, account int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.flights)
	for k, v := range s.live {
		if session != 0 && v.ID == session || session == 0 && v.AccountID == account {
			delete(s.live, k)
		}
	}
}

// ForgetAll empties the cache, for when revocations may have been missed.
func (s *Sessions) ForgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = map[tokenHash]Session{}
	s.unknown = map[tokenHash]time.Time{}
	s.flights = map[tokenHash]*flight{}
}
