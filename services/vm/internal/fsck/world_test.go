package fsck

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/services/vm/internal/node"
)

// lister is an agent that lists one trace, or does not answer.
type lister struct {
	nodepb.NodeServiceClient
	id     uuid.UUID
	silent bool
}

func (l lister) ListTraces(ctx context.Context, _ *nodepb.ListTracesRequest, _ ...grpc.CallOption) (*nodepb.ListTracesResponse, error) {
	if l.silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &nodepb.ListTracesResponse{
		Traces:  []*nodepb.Trace{{Uuid: l.id.String(), Defined: true}},
		LeftOut: []*nodepb.LeftOut{{File: l.id.String() + ".json", Reason: "damaged"}},
	}, nil
}

// TestSilentNodesAreAskedAbreast: a hundred of a thousand nodes do not answer. Each is waited for, but not one after the
// other, and the answers of the others are theirs.
func TestSilentNodesAreAskedAbreast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		agents := make([]node.Agent, 1000)
		silent := map[uuid.UUID]bool{}
		for i := range agents {
			agents[i] = node.Agent{ID: int32(i + 1), UUID: uuid.New()}
			silent[agents[i].UUID] = i%10 == 0
		}
		r := Reader{Dial: func(id uuid.UUID, _ string) (nodepb.NodeServiceClient, error) {
			return lister{id: id, silent: silent[id]}, nil
		}}
		start := time.Now()
		for i, a := range r.everyTrace(t.Context(), agents) {
			switch id := agents[i].UUID; {
			case silent[id] && a.err == nil:
				t.Fatalf("node %d did not answer, and has %v", i, a.traces)
			case !silent[id] && (len(a.leftOut) != 1 || a.leftOut[0] != LeftOut{File: id.String() + ".json", Reason: "damaged"}):
				t.Fatalf("node %d leaves out %v", i, a.leftOut)
			case !silent[id] && (a.err != nil || len(a.traces) != 1 || a.traces[0].UUID != id):
				t.Fatalf("node %d has %v: %v", i, a.traces, a.err)
			}
		}
		if took := time.Since(start); took > 3*nodeTimeout {
			t.Errorf("it took %s", took)
		}
	})
}
