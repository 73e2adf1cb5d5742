package arch

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNoServerLinked: programs that speak with NATS do not contain a NATS server. Only slipway, which runs everything in one
// process, does.
func TestNoServerLinked(t *testing.T) {
	t.Parallel()
	const nats = "github.com/nats-io/nats-server/"
	for _, p := range []struct {
		path  string
		links bool
	}{
		{"services/auth/cmd/authd", false},
		{"services/vm/cmd/vmd", false},
		{"services/ip/cmd/ipd", false},
		{"services/node/cmd/noded", false},
		{"gateway/cmd/gatewayd", false},
		{"deploy/cmd/slipway", true},
	} {
		out, err := exec.Command("go", "list", "-deps", root+p.path).Output() // #nosec G204 -- paths from the list above
		if err != nil {
			t.Fatalf("go list %s: %v", p.path, err)
		}
		if got := strings.Contains(string(out), nats); got != p.links {
			t.Errorf("%s links %s: %t", p.path, nats, got)
		}
	}
}
