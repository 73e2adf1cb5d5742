package rpc

import (
	"crypto/tls"
	"testing"
	"time"

	"google.golang.org/grpc/connectivity"
)

// TestUnusedConnectionIsClosed checks that a node that changes its endpoint leaves no connection behind.
func TestUnusedConnectionIsClosed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := NewAgents(&tls.Config{MinVersion: tls.VersionTLS13})
	d.now = func() time.Time { return now }
	dial := func(endpoint string) *shared {
		t.Helper()
		c, err := d.Dial("n", endpoint)
		if err != nil {
			t.Fatal(err)
		}
		return c.(*shared)
	}
	left, busy, used := dial("127.0.0.1:1"), dial("127.0.0.1:2"), dial("127.0.0.1:3")
	busy.count(1)
	now = now.Add(unusedFor / 2)
	if dial("127.0.0.1:3") != used {
		t.Error("a second connection to one endpoint")
	}
	now = now.Add(unusedFor/2 + time.Minute)
	dial("127.0.0.1:4")
	for name, tt := range map[string]struct {
		c      *shared
		closed bool
	}{"left": {left, true}, "busy": {busy, false}, "used": {used, false}} {
		if got := tt.c.GetState() == connectivity.Shutdown; got != tt.closed {
			t.Errorf("%s: closed %v, want %v", name, got, tt.closed)
		}
	}
	if dial("127.0.0.1:1") == left {
		t.Error("a closed connection is given out")
	}
	d.Close()
	if used.GetState() != connectivity.Shutdown || len(d.conns) != 0 {
		t.Error("connections outlive their dialer")
	}
}
