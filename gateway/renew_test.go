package gateway_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"

	"slipway.dev/gateway"
)

// TestServicesThatKnowMore: services may learn before the gateway that an identity is too old. A good session is then asked for
// anew and the call repeated once; one that is over is refused.
func TestServicesThatKnowMore(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		identities     []string // as auth answers, one after the other; "" for a token that it does not know
		code           int
		asked, invoked int32
	}{
		"a newer identity":     {[]string{"old", "new"}, 200, 2, 2},
		"the same identity":    {[]string{"old", "old"}, 401, 2, 1},
		"the session is over":  {[]string{"old", ""}, 401, 2, 1},
		"refused once more":    {[]string{"old", "older"}, 401, 2, 2},
		"nothing to be asked":  {[]string{"new"}, 200, 1, 1},
		"another kind of 401":  {[]string{"confused"}, 401, 1, 1},
		"not an old one's 403": {[]string{"denied"}, 403, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, invoked atomic.Int32
			auth := conn(func(_ context.Context, _ string, _, out any) error {
				id := tt.identities[min(int(asked.Add(1)), len(tt.identities))-1]
				if id == "" {
					return identity.ErrInvalid
				}
				proto.Merge(out.(proto.Message), &authpb.IntrospectResponse{Identity: id, AccountId: 4, SessionId: 40})
				return nil
			})
			vm := conn(func(ctx context.Context, _ string, _, _ any) error {
				invoked.Add(1)
				md, _ := metadata.FromOutgoingContext(ctx)
				switch md.Get(identity.MetadataKey)[0] {
				case "new":
					return nil
				case "confused":
					return fault.Unauthenticated
				case "denied":
					return fault.Denied
				default:
					return fault.Status(identity.ErrInvalid).Err() // as it comes over the wire
				}
			})
			gw, err := gateway.New(gateway.Config{}, gateway.Conns{"auth": auth, "vm": vm, "ip": vm}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			rec := send(t, gw.Handler(), "POST /vm/v3/host/1/start", "x-xsrf-token: user")
			if rec.Code != tt.code || asked.Load() != tt.asked || invoked.Load() != tt.invoked {
				t.Errorf("%d %s, auth asked %d times, vm called %d times", rec.Code, rec.Body, asked.Load(), invoked.Load())
			}
		})
	}
}
