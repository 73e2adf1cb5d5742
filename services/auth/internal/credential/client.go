package credential

import (
	"context"

	"slipway.dev/pkg/rpc"
)

// ClientOf returns where a call came from, as far as the gateway says.
func ClientOf(ctx context.Context) Client { return newClient(rpc.ClientIP(ctx), rpc.UserAgent(ctx)) }
