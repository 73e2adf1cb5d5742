package node

import (
	"fmt"
	"net"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
)

// Dial connects to the agent of a node at its endpoint. The dialler keeps the connection, over which an agent of another
// node gets no call.
type Dial func(node uuid.UUID, endpoint string) (nodepb.NodeServiceClient, error)

// Agent returns the agent of a node at its endpoint. Without a way to the agent the fault is NotAsked: the node may be well.
func (d Dial) Agent(node uuid.UUID, endpoint string) (nodepb.NodeServiceClient, error) {
	c, err := d(node, endpoint)
	if err != nil {
		return nil, fault.NotAsked.Wrap(fmt.Errorf("dial agent: %w", err))
	}
	return c, nil
}

// HostOf returns the address in an endpoint, without its port. The agent of this very process has none.
func HostOf(endpoint string) string {
	h, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return "127.0.0.1"
	}
	return h
}
