//go:build e2e && remote && containers

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"slipway.dev/deploy/parts"
)

// TestMetrics: the Prometheus at SLIPWAY_E2E_PROMETHEUS has reached every container of every service, knows the rules,
// and draws its page.
func TestMetrics(t *testing.T) {
	s := anyStack(t)
	base := os.Getenv("SLIPWAY_E2E_PROMETHEUS")
	get := func(path string) string {
		t.Helper()
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v %s", path, resp.StatusCode, err, text)
		}
		return string(text)
	}
	query := func(expr string) map[string]string {
		t.Helper()
		var answer struct {
			Data struct {
				Result []struct {
					Metric map[string]string
					Value  [2]any
				}
			}
		}
		if err := json.Unmarshal([]byte(get("/api/v1/query?query="+url.QueryEscape(expr))), &answer); err != nil {
			t.Fatal(err)
		}
		values := map[string]string{}
		for _, r := range answer.Data.Result {
			values[r.Metric["instance"]], _ = r.Value[1].(string)
		}
		return values
	}

	addresses := map[string]string{}
	for _, p := range parts.All() {
		service := p.Name
		list := containers(t, service)
		if len(list) == 0 {
			t.Fatalf("no container of %s", service)
		}
		for _, c := range list {
			format := "{{range $name, $net := .NetworkSettings.Networks}}{{$net.IPAddress}}:9100 {{end}}"
			addresses[c.name] = docker(t, "inspect", "--format", format, c.id)
		}
	}
	missing := ""
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(250 * time.Millisecond) {
		up := query(`up{job="slipway"}`)
		missing = ""
		for name, list := range addresses {
			seen := false
			for at := range strings.FieldsSeq(list) { // a container on two networks has two addresses
				seen = seen || up[at] == "1"
			}
			if !seen {
				missing += " " + name
			}
		}
		if missing == "" && len(up) == len(addresses) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not reached:%s; up %v of %v", missing, up, addresses)
		}
	}

	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, State, LastError string }
			}
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(250 * time.Millisecond) { // a rule is unknown until its first turn
		if err := json.Unmarshal([]byte(get("/api/v1/rules")), &rules); err != nil {
			t.Fatal(err)
		}
		good := 0
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "ok" && r.State == "inactive" {
					good++
				}
			}
		}
		if good >= 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("rules: %+v", rules)
		}
	}

	c := s.login()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(250 * time.Millisecond) { // two scrapes make a rate
		c.list("/vm/v3/host")
		page := get("/consoles/index.html")
		if strings.Contains(page, "/vm/v3</td>") && strings.Contains(page, "HostService/ListHosts</td>") && strings.Contains(page, ":9100</td>") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the page: %s", page)
		}
	}
}
