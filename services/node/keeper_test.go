package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"slipway.dev/services/node/internal/hyper"
)

// TestKeeper: the networks are looked at periodically, what was put back is counted and logged, and a look that fails
// stops no later one.
func TestKeeper(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var k keeper
		looks := 0
		ctx, stop := context.WithTimeout(t.Context(), time.Minute+time.Second)
		defer stop()
		k.run(ctx, func(context.Context) (hyper.Repairs, error) {
			switch looks++; looks {
			case 2:
				return nil, errors.New("netlink is away")
			case 3:
				return hyper.Repairs{"rules": 1, "guard": 2}, nil
			case 4:
				return hyper.Repairs{"guard": 1}, nil
			}
			return hyper.Repairs{}, nil
		}, slog.New(slog.NewTextHandler(&out, nil)))
		if looks != 7 {
			t.Errorf("%d looks in a minute", looks)
		}
		if got := k.counts(); got["rules"] != 1 || got["guard"] != 3 {
			t.Errorf("counted %v", got)
		}
		for _, want := range []string{"netlink is away", "what=rules count=1", "what=guard count=2"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in the log:\n%s", want, out.String())
			}
		}
	})
}
