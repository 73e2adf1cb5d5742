// Package console shows the serial consoles of hosts.
package console

import (
	"context"

	"google.golang.org/genproto/googleapis/api/httpbody"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/node"
)

// Server answers the part of vm.v3.HostService that shows consoles.
type Server struct {
	db   *unit.DB
	dial node.Dial
}

// NewServer returns a Server.
func NewServer(db *unit.DB, dial node.Dial) *Server { return &Server{db, dial} }

// most is how many bytes of a console one answer carries.
const most = 256 << 10

// GetHostConsole returns the tail of the serial console. The guest writes there what it likes: the answer is plain
// text.
func (s *Server) GetHostConsole(ctx context.Context, r *vmpb.GetHostConsoleRequest) (*httpbody.HttpBody, error) {
	if r.GetBytes() < 0 || r.GetBytes() > most {
		return nil, fault.Invalid.With("not between 1 and %d", most).On("bytes")
	}
	m, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	text, err := read(ctx, s.dial, m, r.GetBytes())
	if err != nil {
		return nil, err
	}
	return &httpbody.HttpBody{ContentType: "text/plain; charset=utf-8", Data: text}, nil
}
