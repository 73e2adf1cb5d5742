package node_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"slipway.dev/services/node"
)

// TestIdentityOfCertificate: a node is the one that its certificate names. An agent whose data directory is of another node
// does not start.
func TestIdentityOfCertificate(t *testing.T) {
	t.Parallel()
	root, a, b := filepath.Join(t.TempDir(), "new"), uuid.NewString(), uuid.NewString()
	for range 2 { // the first start writes the file
		if id, err := node.Identity(root, a); err != nil || id != a {
			t.Fatalf("node %q, want %q: %v", id, a, err)
		}
	}
	if id, err := node.Identity(root, ""); err != nil || id != a {
		t.Errorf("without a certificate: node %q, want %q: %v", id, a, err)
	}
	_, err := node.New(t.Context(), node.Config{ID: b, Root: root, StackID: "stack", Endpoint: "local", Hypervisor: node.Sim},
		nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "slipway-init node "+a) || !strings.Contains(err.Error(), b) {
		t.Errorf("the certificate of another node: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "node-id")); err != nil || strings.TrimSpace(string(text)) != a {
		t.Errorf("the file holds %q: %v", text, err)
	}
}
