package node_test

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/node"
)

// TestFilesWithoutContent truncates files that a power loss may have cut off. The agent must not become another node, nor choose
// another hypervisor, and says which file is damaged.
func TestFilesWithoutContent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, hypervisor string
		want             string // part of the error; "" if the file is made anew
	}{
		{"node-id", node.Sim, "node-id is empty"},
		{"hypervisor", node.Auto, "hypervisor is empty"},
		{"hypervisor", node.Sim, ""},
	} {
		t.Run(c.file+" "+c.hypervisor, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			first, _, _ := start(t, root)
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(root, c.file)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			s := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
			vmpb.RegisterNodeServiceServer(s, &fakeVM{})
			svc, err := node.New(t.Context(), node.Config{
				Root: root, StackID: "stack", Endpoint: node.LocalEndpoint, Hypervisor: c.hypervisor,
			}, s.Local("node"), slog.New(slog.DiscardHandler))
			if err == nil {
				t.Cleanup(func() { _ = svc.Close() })
			}
			after, readErr := os.ReadFile(path)
			switch {
			case readErr != nil:
				t.Error(readErr)
			case c.want == "" && (err != nil || string(after) != string(before)):
				t.Errorf("%s holds %q, want %q: %v", c.file, after, before, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || len(after) > 0):
				t.Errorf("%v, want %q; the file holds %q", err, c.want, after)
			}
		})
	}
}

// TestBadTemplateStopsNothing: an agent starts without a template that it cannot use, and says so.
func TestBadTemplateStopsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"torn.json": `{"name":"to`, "none.json": `{"name":"none","file":"none.qcow2","sha256":"` + strings.Repeat("0", 64) + `"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	s := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
	vm := &fakeVM{}
	vmpb.RegisterNodeServiceServer(s, vm)
	svc, err := node.New(t.Context(), node.Config{
		Root: t.TempDir(), StackID: "stack", Endpoint: node.LocalEndpoint, Hypervisor: node.Sim, Templates: dir,
	}, s.Local("node"), slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.Close() })
	if _, err := svc.Register(t.Context()); err != nil {
		t.Error(err)
	}
	for _, file := range []string{"torn.json", "none.json"} {
		if !strings.Contains(said.String(), file) {
			t.Errorf("nothing about %s:\n%s", file, said.String())
		}
	}
	o := obs.New()
	svc.Observe(o)
	w := httptest.NewRecorder()
	o.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if want := `slipway_node_left_out{what="template"} 2`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("no %s in the metrics", want)
	}
	traces, err := nodepb.NewNodeServiceClient(svc.Server().Local("vm")).ListTraces(t.Context(), &nodepb.ListTracesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, x := range traces.GetLeftOut() {
		if files = append(files, x.GetFile()); x.GetReason() == "" {
			t.Errorf("no reason why %s is left out", x.GetFile())
		}
	}
	if want := []string{"none.json", "torn.json"}; !slices.Equal(files, want) {
		t.Errorf("left out are %q, want %q", files, want)
	}
}
