// Package actfor lets a service call others in the name of an account after the account's request has ended, as a job does.
package actfor

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/identity"
)

// renewBefore is how long before its end an identity is replaced: longer than a call may take.
const renewBefore = 30 * time.Second

// Actor acts for one account within some scopes. It gets an identity from auth when a call needs one and renews it.
type Actor struct {
	auth    authpb.TokenServiceClient
	request *authpb.ActForRequest

	mu      sync.Mutex
	text    string
	expires time.Time
}

// New makes an actor for one job. auth refuses the first call when the account lacks a scope or is not active.
func New(auth grpc.ClientConnInterface, account int32, scopes ...string) *Actor {
	return &Actor{auth: authpb.NewTokenServiceClient(auth), request: &authpb.ActForRequest{AccountId: account, Scopes: scopes}}
}

// Conn returns a connection whose calls are made in the name of the account.
func (a *Actor) Conn(next grpc.ClientConnInterface) grpc.ClientConnInterface { return conn{a, next} }

// identity returns an identity that is good for a call that begins now.
func (a *Actor) identity(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().Before(a.expires.Add(-renewBefore)) {
		return a.text, nil
	}
	resp, err := a.auth.ActFor(ctx, a.request)
	if err != nil {
		return "", err
	}
	a.text, a.expires = resp.GetIdentity(), resp.GetExpiresAt().AsTime()
	return a.text, nil
}

// drop removes an identity that was refused.
func (a *Actor) drop(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.text == text {
		a.text, a.expires = "", time.Time{}
	}
}

type conn struct {
	actor *Actor
	next  grpc.ClientConnInterface
}

// Invoke calls once more with a new identity when the first was refused: a change of the account's rights revokes identities
// that auth would give again.
func (c conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	for try := 1; ; try++ {
		text, err := c.actor.identity(ctx)
		if err != nil {
			return err
		}
		err = c.next.Invoke(metadata.AppendToOutgoingContext(ctx, identity.MetadataKey, text), method, args, reply, opts...)
		if status.Code(err) != codes.Unauthenticated || try == 2 {
			return err
		}
		c.actor.drop(text)
	}
}

func (c conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	text, err := c.actor.identity(ctx)
	if err != nil {
		return nil, err
	}
	return c.next.NewStream(metadata.AppendToOutgoingContext(ctx, identity.MetadataKey, text), desc, method, opts...)
}
