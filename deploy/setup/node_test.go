package setup

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/pki"
)

// named returns the id of the node that the certificate in a directory names.
func named(t *testing.T, dir string) string {
	t.Helper()
	c, err := pki.Load(dir, pki.NodeService)
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.LoadedNode(c)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestNodesHaveCertificatesOfTheirOwn: no two nodes share a certificate, and a renewal leaves each its id.
func TestNodesHaveCertificatesOfTheirOwn(t *testing.T) {
	t.Parallel()
	c := config(t)
	further, err := Node(c, "", "")
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{c.key("node", ""), c.key("node-libvirt", ""), further}
	before := map[string]string{}
	seen := map[string]bool{}
	for _, dir := range dirs {
		before[dir] = named(t, dir)
		seen[before[dir]] = true
	}
	if len(seen) != len(dirs) || filepath.Base(further) != before[further] {
		t.Errorf("nodes %v", before)
	}
	ca, err := pki.OpenAuthority(c.Authority)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		old := text(t, filepath.Join(dir, "node.crt"))
		if err := renew(ca, c, time.Now().Add(13*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if id := named(t, dir); id != before[dir] || text(t, filepath.Join(dir, "node.crt")) == old {
			t.Errorf("%s: renewed for %s, was of %s", dir, id, before[dir])
		}
	}
}

// TestUpgradedNodes: a nameless certificate is replaced by one for the node that the data directory is of.
func TestUpgradedNodes(t *testing.T) {
	t.Parallel()
	c := config(t)
	id := uuid.NewString()
	if err := write(filepath.Join(c.Data, "node", "node-id"), id+"\n", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(c.nodeIDFile("node")); err != nil { // as before certificates named nodes
		t.Fatal(err)
	}
	ca, err := pki.OpenAuthority(c.Authority)
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Deliver(c.key("node", ""), "node", c.CertificateLife); err != nil {
		t.Fatal(err)
	}
	if err := Keys(c); err != nil {
		t.Fatal(err)
	}
	if got := named(t, c.key("node", "")); got != id {
		t.Errorf("the certificate is of node %s, the data of node %s", got, id)
	}
}

// TestCertificateForAnID: the certificate of an existing node is issued by its id, for a node of compose or another one.
func TestCertificateForAnID(t *testing.T) {
	t.Parallel()
	c := config(t)
	for _, name := range []string{"", "node-libvirt"} {
		id := uuid.NewString()
		dir, err := Node(c, id, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := Keys(c); err != nil { // the next start changes nothing
			t.Fatal(err)
		}
		if got := named(t, dir); got != id || text(t, filepath.Join(dir, "stack-id")) == "" {
			t.Errorf("%q: the certificate is of node %s, not of %s", name, got, id)
		}
	}
	if _, err := Node(c, "7", ""); err == nil {
		t.Error("a certificate for an id that is no UUID")
	}
	if _, err := Node(c, "", "vm"); err == nil {
		t.Error("a node's certificate in the keys of vm")
	}
}
