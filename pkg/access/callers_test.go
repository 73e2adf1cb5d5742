package access_test

import (
	"slices"
	"testing"

	"slipway.dev/proto/all"

	"slipway.dev/pkg/access"
)

// TestEveryServiceMayAskForKeys: "*" is every service in proto/all and the gateway, but neither the service itself nor agents.
func TestEveryServiceMayAskForKeys(t *testing.T) {
	t.Parallel()
	for _, f := range all.In("auth.v4") {
		for _, m := range access.In(f) {
			if m.Name != "/auth.v4.TokenService/ListKeys" {
				continue
			}
			for name, want := range map[string]bool{
				"vm": true, "ip": true, "gateway": true, "auth": false, "node": false, "stranger": false, "*": false, "": false,
			} {
				if slices.Contains(m.Callers, name) != want {
					t.Errorf("%q is among %q: %t", name, m.Callers, !want)
				}
			}
			return
		}
	}
	t.Error("there is no ListKeys")
}
