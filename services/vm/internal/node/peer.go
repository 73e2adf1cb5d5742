package node

import (
	"fmt"
	"net"

	nodepb "slipway.dev/proto/node/v1"
)

// Dial connects to the agent at a node's endpoint. The dialler keeps the connection.
type Dial func(endpoint string) (nodepb.NodeServiceClient, error)

// Agent returns the agent at an endpoint.
func (d Dial) Agent(endpoint string) (nodepb.NodeServiceClient, error) {
	c, err := d(endpoint)
	if err != nil {
		return nil, fmt.Errorf("dial agent: %w", err)
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
