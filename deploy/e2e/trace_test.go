//go:build e2e && remote && containers

package e2e

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// collector takes traces as an OpenTelemetry collector does.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer

	mu    sync.Mutex
	spans map[string][]span // by trace
	seen  map[string]bool   // services
}

type span struct {
	*tracepb.Span
	service string
}

// Export implements the service of OTLP.
func (c *collector) Export(_ context.Context, r *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range r.GetResourceSpans() {
		service := ""
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		c.seen[service] = true
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				id := hex.EncodeToString(s.GetTraceId())
				c.spans[id] = append(c.spans[id], span{s, service})
			}
		}
	}
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

// wait looks until found says so.
func (c *collector) wait(t *testing.T, what string, found func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		c.mu.Lock()
		ok := found()
		c.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			c.mu.Lock()
			defer c.mu.Unlock()
			t.Fatalf("%s: not seen; %d traces of %v", what, len(c.spans), c.seen)
		}
	}
}

// TestTraces is the collector that the services of the stack send to, at SLIPWAY_E2E_OTLP: a create is one trace, from the
// gateway over the job that it left behind to the calls of the hypervisor, and all of it hangs together.
func TestTraces(t *testing.T) {
	s := anyStack(t)
	l, err := net.Listen("tcp", cmp.Or(os.Getenv("SLIPWAY_E2E_OTLP"), ":4317"))
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{spans: map[string][]span{}, seen: map[string]bool{}}
	g := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(g, c)
	go func() { _ = g.Serve(l) }()
	defer g.Stop()

	admin := s.login()
	var services []string
	for _, name := range []string{"gateway", "auth", "vm", "ip", "node"} {
		services = append(services, "slipway-"+name)
	}
	c.wait(t, "spans of every service", func() bool {
		return !slices.ContainsFunc(services, func(s string) bool { return !c.seen[s] })
	})

	resp, text := admin.raw("POST", "/vm/v3/host", object{"name": "traced", "os": admin.tiny(), "password": "x", "ram_mib": 128})
	var made object
	if err := json.Unmarshal(text, &made); err != nil || resp.StatusCode != 200 {
		t.Fatalf("create: %d %s", resp.StatusCode, text)
	}
	admin.complete(made)
	sum := sha256.Sum256([]byte(resp.Header.Get("X-Request-Id")))
	trace := hex.EncodeToString(sum[:16])
	want := map[string]string{ // a span, and whose it is
		"POST":                              "slipway-gateway",
		"vm.v3.HostService/CreateHost":      "slipway-vm",
		"host_create":                       "slipway-vm",
		"node.v1.NodeService/StartMachine":  "slipway-node",
		"node.v1.NodeService/DefineMachine": "slipway-node",
	}
	calls := []string{"EnsureDisk", "EnsureSeed", "Define", "Start"} // of whichever hypervisor there is
	c.wait(t, "the trace of a create", func() bool {
		have := map[string]string{}
		for _, s := range c.spans[trace] {
			if _, call, ok := strings.Cut(s.GetName(), " "); ok && s.service == "slipway-node" {
				have[call] = s.service
			}
			have[s.service+" "+s.GetName()] = s.service
		}
		for name, service := range want {
			if have[service+" "+name] == "" {
				return false
			}
		}
		return !slices.ContainsFunc(calls, func(name string) bool { return have[name] == "" })
	})
	admin.complete(admin.must("DELETE", fmt.Sprintf("/vm/v3/host/%d", number(made, "id")), nil))

	c.mu.Lock()
	defer c.mu.Unlock()
	spans := map[string]span{}
	for _, s := range c.spans[trace] {
		spans[string(s.GetSpanId())] = s
	}
	roots := 0
	for _, s := range c.spans[trace] {
		if len(s.GetParentSpanId()) == 0 {
			roots++
		} else if _, ok := spans[string(s.GetParentSpanId())]; !ok {
			t.Errorf("%s of %s hangs in the air", s.GetName(), s.service)
		}
		if s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
			t.Errorf("%s ends before it starts", s.GetName())
		}
	}
	if roots != 1 {
		t.Errorf("%d spans have no parent", roots)
	}
	t.Logf("%d spans from the request to the hypervisor", len(spans))
}
