package arch

import (
	"os/exec"
	"strings"
	"testing"

	"slipway.dev/deploy/parts"
)

// TestNoServerLinked: programs that speak with NATS do not contain a NATS server. Only slipway, which runs everything in one
// process, does.
func TestNoServerLinked(t *testing.T) {
	t.Parallel()
	const nats = "github.com/nats-io/nats-server/"
	links := map[string]bool{"deploy/cmd/slipway": true}
	for _, p := range parts.All() {
		links[p.Command] = false
	}
	for path, want := range links {
		out, err := exec.Command("go", "list", "-deps", root+path).Output() // #nosec G204 -- paths from the list above
		if err != nil {
			t.Fatalf("go list %s: %v", path, err)
		}
		if got := strings.Contains(string(out), nats); got != want {
			t.Errorf("%s links %s: %t", path, nats, got)
		}
	}
}
