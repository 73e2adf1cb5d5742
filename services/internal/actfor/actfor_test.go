package actfor_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/internal/actfor"
)

// tokens is an auth that gives identities of a life.
type tokens struct {
	authpb.UnimplementedTokenServiceServer
	life  time.Duration
	given int
}

func (s *tokens) ActFor(_ context.Context, r *authpb.ActForRequest) (*authpb.ActForResponse, error) {
	if r.GetAccountId() != 7 {
		return nil, fault.NotFound
	}
	s.given++
	return &authpb.ActForResponse{
		Identity: fmt.Sprint(s.given, r.GetScopes()), ExpiresAt: timestamppb.New(time.Now().Add(s.life)),
	}, nil
}

func serve(s *tokens) grpc.ClientConnInterface {
	server := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
	authpb.RegisterTokenServiceServer(server, s)
	return server.Local("prov")
}

// called is a service that keeps the identities it was called with, and refuses the first ones.
type called struct {
	grpc.ClientConnInterface
	refuse int
	seen   []string
}

func (c *called) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	c.seen = append(c.seen, md.Get(identity.MetadataKey)[0])
	if len(c.seen) <= c.refuse {
		return fault.Status(identity.ErrInvalid).Err()
	}
	return nil
}

func TestConn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		life   time.Duration
		refuse int
		want   []string // identities of two calls
	}{
		"used again":         {time.Minute, 0, []string{"1 [vms.read]", "1 [vms.read]"}},
		"renewed":            {20 * time.Second, 0, []string{"1 [vms.read]", "2 [vms.read]"}},
		"revoked":            {time.Minute, 1, []string{"1 [vms.read]", "2 [vms.read]", "2 [vms.read]"}},
		"refused for itself": {time.Minute, 2, []string{"1 [vms.read]", "2 [vms.read]", "2 [vms.read]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &called{refuse: tt.refuse}
			conn := actfor.New(serve(&tokens{life: tt.life}), 7, "vms.read").Conn(c)
			first := conn.Invoke(t.Context(), "/x", nil, nil)
			if second := conn.Invoke(t.Context(), "/x", nil, nil); second != nil || (first != nil) != (tt.refuse == 2) {
				t.Errorf("%v, %v", first, second)
			}
			if fmt.Sprint(c.seen) != fmt.Sprint(tt.want) {
				t.Errorf("called with %v, want %v", c.seen, tt.want)
			}
		})
	}
	if err := actfor.New(serve(&tokens{}), 8, "vms.read").Conn(&called{}).Invoke(t.Context(), "/x", nil, nil); err == nil {
		t.Error("an account that is missing")
	}
}
