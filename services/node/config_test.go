package node_test

import (
	"testing"

	"slipway.dev/pkg/conf"
	"slipway.dev/services/node"
)

// TestDownloadSettings: networks and the proxy of downloads are read, and a wrong one stops the agent. Empty ones are none.
func TestDownloadSettings(t *testing.T) {
	t.Parallel()
	vars := map[string]string{
		"N_ROOT": "/r", "N_STACK_ID": "s", "N_ENDPOINT": "e", "N_FETCH_NETWORKS": "10.0.0.0/8,2001:db8::/32", "N_FETCH_PROXY": "http://p:3128",
	}
	cfg, err := conf.From[node.Config](vars, "N")
	if err != nil || len(cfg.Fetch.Networks) != 2 || cfg.Fetch.Networks[1].Bits() != 32 || cfg.Fetch.Proxy.Host != "p:3128" {
		t.Errorf("%+v %v", cfg, err)
	}
	vars["N_FETCH_NETWORKS"], vars["N_FETCH_PROXY"] = "", ""
	if cfg, err := conf.From[node.Config](vars, "N"); err != nil || len(cfg.Fetch.Networks) != 0 || cfg.Fetch.Proxy != nil {
		t.Errorf("%+v %v", cfg, err)
	}
	vars["N_FETCH_NETWORKS"] = "10.0.0.0"
	if _, err := conf.From[node.Config](vars, "N"); err == nil {
		t.Error("a network without a length is accepted")
	}
}
