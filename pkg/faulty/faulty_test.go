package faulty_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	"slipway.dev/pkg/faulty"
)

type counted struct {
	grpc.ClientConnInterface
	n int
}

func (c *counted) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	c.n++
	return nil
}

// Calls fail before, after and twice, at the rate, and the same seed makes the same decisions.
func TestCalls(t *testing.T) {
	t.Parallel()
	run := func(on bool) (done, failed int) {
		p, c := faulty.New(7, 0.05), &counted{}
		p.MaxDelay = time.Nanosecond
		if on {
			p.On()
		}
		for range 10_000 {
			if p.Calls(c).Invoke(t.Context(), "m", nil, nil) != nil {
				failed++
			}
		}
		for _, f := range []faulty.Fault{faulty.Before, faulty.After, faulty.Delay, faulty.Twice, faulty.Reorder} {
			if on && p.Count(f) < 400 {
				t.Errorf("fault %d is rare: %d", f, p.Count(f))
			}
		}
		return c.n, failed
	}
	done, failed := run(true)
	if again, failedAgain := run(true); again != done || failedAgain != failed || failed < 800 || failed > 1200 || done == 10_000 {
		t.Errorf("%d done and %d failed, then %d and %d", done, failed, again, failedAgain)
	}
	if done, failed := run(false); done != 10_000 || failed != 0 {
		t.Errorf("off: %d done, %d failed", done, failed)
	}
}

// A write that fails after it was carried out has reached the other side, and its answer is lost.
func TestConn(t *testing.T) {
	t.Parallel()
	p := faulty.New(3, 0.2)
	p.MaxDelay = time.Nanosecond
	p.On()
	var sent, arrived, heard int64
	for range 200 {
		a, b := net.Pipe()
		got := make(chan int, 1)
		go func() {
			n, _ := b.Read(make([]byte, 8))
			got <- n
			_, _ = b.Write([]byte("y"))
		}()
		c := p.Conn(a)
		if n, err := c.Write([]byte("x")); err == nil && n == 1 {
			sent++
		}
		arrived += int64(<-got)
		if n, err := c.Read(make([]byte, 8)); err == nil && n == 1 {
			heard++
		}
		a.Close()
		b.Close()
	}
	before, after := p.Count(faulty.Before), p.Count(faulty.After)
	if before == 0 || after == 0 || sent != arrived || sent+before != 200 || heard+before+after != 200 {
		t.Errorf("%d sent, %d arrived, %d heard; %d failed before, %d after", sent, arrived, heard, before, after)
	}
}
