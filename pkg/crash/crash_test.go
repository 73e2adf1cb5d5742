package crash

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		name string
		n    int64
	}{
		"": {"", 1}, "job.claim.after": {"job.claim.after", 1}, "x:3": {"x", 3}, "x:": {"x", 1},
	} {
		if name, n := parse(in); name != want.name || n != want.n {
			t.Errorf("%q: %q %d", in, name, n)
		}
	}
	Point("").Hit() // nothing is armed: nothing happens
	if err := At("test.point").Fail(); err != nil {
		t.Error(err)
	}
	if !slices.Contains(Points(), "test.point") {
		t.Errorf("points %v", Points())
	}
}
