package faulty

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
)

type silent struct{ grpc.ClientConnInterface }

func (silent) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return nil }

// A call that must be overtaken waits until another call is made.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	p := New(1, 0.05)
	p.MaxDelay = time.Hour
	done := make(chan struct{})
	go func() {
		p.overtaken(t.Context())
		close(done)
	}()
	for waits := 0; waits == 0; {
		p.mu.Lock()
		waits = len(p.waits)
		p.mu.Unlock()
	}
	select {
	case <-done:
		t.Error("nothing overtook it")
	default:
	}
	_ = p.Calls(silent{}).Invoke(t.Context(), "m", nil, nil)
	<-done
}
