package introspect

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/bearer"
	"slipway.dev/services/auth/internal/credential/secret"
	"slipway.dev/services/auth/internal/keyring"
	"slipway.dev/services/auth/internal/power"
)

// Introspector answers the rpcs of TokenService by which other programs verify credentials and identities.
type Introspector struct {
	db     *unit.DB
	powers power.Powers
	ring   *keyring.Ring
	bearer *bearer.Writer
	ttl    time.Duration
	now    func() time.Time
}

// New makes an Introspector. ttl is how long a session may be unused where token_ttl was never set.
func New(db *unit.DB, p power.Powers, r *keyring.Ring, b *bearer.Writer, ttl time.Duration, now func() time.Time) *Introspector {
	return &Introspector{db, p, r, b, ttl, now}
}

// maxAudiences bounds the signatures of one call.
const maxAudiences = 64

// Introspect turns a credential into an identity for each audience, which is good for a minute, or less when the credential
// ends before.
func (s *Introspector) Introspect(ctx context.Context, r *authpb.IntrospectRequest) (*authpb.IntrospectResponse, error) {
	if len(r.GetAudiences()) > maxAudiences {
		return nil, fault.Invalid.With("more than %d", maxAudiences).On("audiences")
	}
	l, err := s.Find(ctx, r.GetToken())
	if err != nil {
		return nil, err
	}
	i := l.Account.Identity(l.ID, s.powers)
	i.Only = l.Scopes
	i.Limited = i.Only != nil
	resp := &authpb.IntrospectResponse{AccountId: l.Account.ID, SessionId: l.ID, Admin: i.Admin(), Identities: map[string]string{}}
	audiences := r.GetAudiences()
	if len(audiences) == 0 {
		audiences = []string{""} // a gateway of the version before
	}
	for _, i.Audience = range audiences {
		text, expires, err := s.Sign(i, lease(l.Left))
		if err != nil {
			return nil, err
		}
		if resp.ExpiresAt = timestamppb.New(expires); i.Audience == "" {
			resp.Identity = text
		} else {
			resp.Identities[i.Audience] = text
		}
	}
	return resp, nil
}

// ListKeys returns the public keys that verify identities.
func (s *Introspector) ListKeys(ctx context.Context, _ *authpb.ListKeysRequest) (*authpb.ListKeysResponse, error) {
	keys, err := s.ring.Public(ctx)
	if err != nil {
		return nil, err
	}
	resp := &authpb.ListKeysResponse{}
	for id, key := range keys {
		resp.Keys = append(resp.Keys, &authpb.PublicKey{Id: id, Key: key})
	}
	return resp, nil
}

// Sign signs an identity for as long as life, and returns when it ends.
func (s *Introspector) Sign(i identity.Identity, life time.Duration) (string, time.Time, error) {
	i.Issued = s.now()
	i.Expires = i.Issued.Add(life)
	text, err := s.ring.Sign(i)
	return text, i.Expires, err
}

// Find looks up the credential that a client sent: an access token, or a value with a hash.
func (s *Introspector) Find(ctx context.Context, text string) (Live, error) {
	if !bearer.Is(text) {
		hash, err := secret.Hash(text)
		if err != nil {
			return Live{}, err
		}
		return s.FindHash(ctx, hash)
	}
	t, err := s.bearer.Read(ctx, text)
	if err != nil {
		return Live{}, err
	}
	l, err := use(ctx, s.db, byUUID, t.Session, s.ttl, rpc.ClientIP(ctx))
	if err != nil || l.Account.ID != t.Account {
		return l, cmp.Or(err, error(identity.ErrInvalid))
	}
	if left := t.Expires.Sub(s.now()); l.Left == nil || left < *l.Left {
		l.Left = &left
	}
	return l, nil
}

// FindHash looks up a credential by the hash of its value.
func (s *Introspector) FindHash(ctx context.Context, hash []byte) (Live, error) {
	return use(ctx, s.db, byHash, hash, s.ttl, rpc.ClientIP(ctx))
}
