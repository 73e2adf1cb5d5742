package watch

import (
	"testing"

	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/node"
)

// TestOneNodeThatLies: one of several nodes says that it has heard of a higher timeline. vm does not believe that node alone.
func TestOneNodeThatLies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		nodes int
		heard []int64
		want  int64
	}{
		{0, nil, 0},
		{1, []int64{0}, 0},
		{1, []int64{3}, 3},
		{2, []int64{9}, 0},
		{2, []int64{9, 3}, 3},
		{3, []int64{9, 0, 0}, 0},
		{4, []int64{4, 9, 4, 0}, 4},
		{2, []int64{5, 5}, 5},
	} {
		h := heard{guard: pg.NewGuard()}
		var agents []node.Agent
		for i := range tt.nodes {
			agents = append(agents, node.Agent{ID: int32(i)})
		}
		h.of(agents)
		for i, timeline := range tt.heard {
			h.add(int32(i), timeline)
			h.of(agents)
		}
		if n := h.guard.Seen(); n != tt.want {
			t.Errorf("%d nodes, %v: vm believes in the timeline %d, want %d", tt.nodes, tt.heard, n, tt.want)
		}
	}
}
