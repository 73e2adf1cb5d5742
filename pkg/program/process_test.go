package program

import (
	"testing"

	"slipway.dev/pkg/conf"
)

// TestServicesAreRead: the list of addresses is read as names and their hosts and ports.
func TestServicesAreRead(t *testing.T) {
	t.Parallel()
	p, err := conf.From[Process](map[string]string{
		"X_DATABASE": "d", "X_CERTS": "c", "X_SERVICES": "auth=127.0.0.1:8101,ip=[::1]:8102",
	}, "X")
	if err != nil || len(p.Services) != 2 || p.Services["auth"] != "127.0.0.1:8101" || p.Services["ip"] != "[::1]:8102" {
		t.Errorf("%v %v", p.Services, err)
	}
}
