package pg_test

import (
	"fmt"
	"strings"
	"testing"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	twenty := map[string]pg.Share{}
	for n := range 20 {
		twenty[fmt.Sprint("service", n)] = pg.Share{Replicas: 2}
	}
	for name, tt := range map[string]struct {
		server   int
		services map[string]pg.Share
		refused  string
	}{
		"twenty services, two replicas":     {300, twenty, ""},
		"twenty services, a default server": {100, twenty, "max_connections=250"},
		"slipway up":                        {100, map[string]pg.Share{"auth": {1, 2}, "ip": {1, 3}, "vm": {1, 5}}, ""},
		"exactly":                           {250, twenty, ""},
		"none":                              {100, nil, ""},
	} {
		sizes, err := pg.Budget(tt.server, tt.services)
		if tt.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%s: %v, want %s", name, err, tt.refused)
			}
			continue
		}
		sum := 0
		for s, n := range sizes {
			sum += n * tt.services[s].Replicas
			if n < pg.LeastConns {
				t.Errorf("%s: %s has %d connections", name, s, n)
			}
		}
		if err != nil || len(sizes) != len(tt.services) || sum > tt.server {
			t.Errorf("%s: %d of %d connections, %v, %v", name, sum, tt.server, sizes, err)
		}
	}
}

// TestPoolThatCannotFitSaysSo: a pool larger than the server fails at the start, not under load.
func TestPoolThatCannotFitSaysSo(t *testing.T) {
	t.Parallel()
	url, schema := pgtest.Schema(t)
	sep := "?"
	if strings.Contains(url, "?") {
		sep = "&"
	}
	_, err := pg.Open(t.Context(), url+sep+"pool_max_conns=5000", schema)
	if err == nil || !strings.Contains(err.Error(), "a pool of 5000 connections does not fit the server") {
		t.Error(err)
	}
}
