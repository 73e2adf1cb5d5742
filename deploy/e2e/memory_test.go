//go:build e2e && remote && containers

package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMemory: under a load of lists and creates no service takes more than its share of memory, in MiB.
func TestMemory(t *testing.T) {
	const share, requests = 60, 4000
	s := anyStack(t)
	c := s.login()
	var ids []string
	for _, service := range []string{"auth", "vm", "ip", "node", "gateway"} {
		for _, k := range containers(t, service) {
			ids = append(ids, k.id)
		}
	}
	stats := append([]string{"stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"}, ids...)
	idle, most := memory(t, docker(t, stats...)), map[string]float64{}
	l := startLoad(t, c, 8)
	for l.total.Load() < requests {
		for name, mib := range memory(t, docker(t, stats...)) {
			most[name] = max(most[name], mib)
		}
	}
	l.stop()
	for _, f := range l.failures {
		t.Error(f)
	}
	for _, task := range l.accepted {
		if end := c.finish(task, 2*time.Minute); end["status"] != "complete" {
			t.Errorf("accepted, and then: %v", end)
		}
	}
	if len(most) != len(ids) || len(l.accepted) < requests/40 {
		t.Errorf("%d requests, %d hosts; memory %v", l.total.Load(), len(l.accepted), most)
	}
	for name, mib := range most {
		t.Logf("%s: %.0f MiB, before %.0f", name, mib, idle[name])
		if mib > share {
			t.Errorf("%s takes %.0f MiB", name, mib)
		}
	}
}

// memory reads what docker stats prints, "slipway-auth-1 24.34MiB / 23.54GiB", as MiB.
func memory(t *testing.T, text string) map[string]float64 {
	t.Helper()
	list := map[string]float64{}
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(line, " ")
		used, _, _ := strings.Cut(rest, " ")
		digits := strings.TrimRight(used, "KMGiB")
		n, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list[name] = n * map[string]float64{"KiB": 1.0 / 1024, "MiB": 1, "GiB": 1024}[strings.TrimPrefix(used, digits)]
	}
	return list
}
