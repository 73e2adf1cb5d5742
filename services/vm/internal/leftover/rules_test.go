package leftover

import "testing"

func TestClassify(t *testing.T) {
	t.Parallel()
	proof := Evidence{
		Installation: "us", Node: "n1", StackID: "us", NodeID: "n1", Fence: 5, Tombstone: true, TombstoneNode: "n1", TombstoneFence: 9,
	}
	for name, tt := range map[string]struct {
		spoil func(*Evidence)
		want  Verdict
	}{
		"all proofs":                 {func(*Evidence) {}, Removed},
		"the very fence":             {func(e *Evidence) { e.Fence = 9 }, Removed},
		"defined after its deletion": {func(e *Evidence) { e.Fence = 10 }, Newer},
		"no tombstone":               {func(e *Evidence) { e.Tombstone = false }, NoTombstone},
		"buried on another node":     {func(e *Evidence) { e.TombstoneNode = "n2" }, NoProof},
		"defined by another node":    {func(e *Evidence) { e.NodeID = "n2" }, NoProof},
		"of another installation":    {func(e *Evidence) { e.StackID = "them" }, NoProof},
		"we do not know who we are":  {func(e *Evidence) { e.Installation, e.StackID = "", "" }, NoProof},
		"an older agent":             {func(e *Evidence) { e.StackID, e.NodeID, e.Fence = "", "", 0 }, NoProof},
		"no fence":                   {func(e *Evidence) { e.Fence = 0 }, NoProof},
	} {
		e := proof
		tt.spoil(&e)
		if got := Classify(e); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestBreakerLimit(t *testing.T) {
	t.Parallel()
	for machines, want := range map[int]int{0: 3, 1: 3, 60: 3, 79: 3, 80: 4, 1000: 50} {
		if got := BreakerLimit(machines); got != want {
			t.Errorf("%d machines: %d, want %d", machines, got, want)
		}
	}
}
