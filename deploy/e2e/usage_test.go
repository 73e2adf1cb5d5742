//go:build e2e && !remote

package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// TestHostMetrics: the Prometheus that slipway up starts knows what a host uses, and clients read it by the names that they
// know. Without a metrics server the answer is 503 with the reason.
func TestHostMetrics(t *testing.T) {
	s := newStack(t, "sim", "SLIPWAY_METRICS_SERVER=auto")
	c := s.login()
	made := c.must("POST", "/vm/v3/host", object{"name": "metrics", "os": c.tiny(), "password": "x", "ram_mib": 512})
	c.complete(made)
	path := fmt.Sprintf("/vm/v3/host/%d/metrics?", number(made, "id"))
	type series []struct {
		Target     string
		Datapoints [][2]float64
	}
	read := func(query string) (list series, last float64) {
		resp, text := c.raw("GET", path+query, nil)
		switch err := json.Unmarshal(text, &list); {
		case resp.StatusCode == 503: // Prometheus starts
		case err != nil || resp.StatusCode != 200 || len(list) != 1:
			t.Fatalf("%s: %d %s", query, resp.StatusCode, text)
		default:
			for _, p := range list[0].Datapoints {
				last = p[0]
			}
		}
		return list, last
	}
	deadline := time.Now().Add(2 * time.Minute)
	used := 0.0
	for used == 0 && time.Now().Before(deadline) {
		time.Sleep(200 * time.Millisecond)
		_, used = read("target=mem_usage&from=" + time.Now().UTC().Add(-time.Hour).Format("15:04_20060102"))
	}
	if used != 256 { // half of the memory, as simulated
		t.Errorf("%v MiB of memory are used", used)
	}
	if list, _ := read("target=net_rx_summary&output=single&interval=1month"); len(list[0].Datapoints) != 1 {
		t.Errorf("the sum of a month: %+v", list)
	}
	if status, body := c.do("GET", path+"target=up", nil); status != 400 {
		t.Errorf("another metric: %d %v", status, body)
	}
	s.stop()
	s.env = nil
	s.start()
	c = s.login()
	if status, body := c.do("GET", path+"target=cpu_load", nil); status != 503 {
		t.Errorf("without a metrics server: %d %v", status, body)
	}
}
