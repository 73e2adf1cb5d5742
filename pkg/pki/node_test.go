package pki_test

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/pki"
)

// TestNodeOf reads the node out of certificates, and out of none that another kind of URI, or more than one, stands in.
func TestNodeOf(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.New()
	parse := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for name, tt := range map[string]struct {
		uris []*url.URL
		want string
	}{
		"named":          {[]*url.URL{pki.NodeURI(id)}, id.String()},
		"nameless":       {nil, ""},
		"two nodes":      {[]*url.URL{pki.NodeURI(id), pki.NodeURI(uuid.New())}, ""},
		"no UUID":        {[]*url.URL{parse("slipway://node/a")}, ""},
		"another host":   {[]*url.URL{parse("slipway://gateway/" + id.String())}, ""},
		"another scheme": {[]*url.URL{parse("spiffe://node/" + id.String())}, ""},
		"a query":        {[]*url.URL{parse("slipway://node/" + id.String() + "?a=b")}, ""},
	} {
		cert, err := ca.Issue("node", time.Hour, tt.uris...)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil || pki.NodeOf(parsed) != tt.want || parsed.DNSNames[0] != "node" {
			t.Errorf("%s: names %q, want %q: %v", name, pki.NodeOf(parsed), tt.want, err)
		}
	}
}

// TestNodeIsDue: a certificate that names no node or another node is replaced, and one that is renewed names the same node.
func TestNodeIsDue(t *testing.T) {
	t.Parallel()
	dir, id := t.TempDir(), uuid.New()
	if err := pki.Write(dir, time.Hour, "node"); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !ca.Due(dir, "node", time.Now(), pki.NodeURI(id)) {
		t.Error("a nameless certificate is not due")
	}
	if loaded, err := pki.Load(dir, "node"); err != nil {
		t.Fatal(err)
	} else if _, err := pki.LoadedNode(loaded); err == nil || !strings.Contains(err.Error(), "slipway-init node") {
		t.Errorf("a nameless certificate: %v", err)
	}
	if err := pki.WriteNode(dir, time.Hour, id); err != nil {
		t.Fatal(err)
	}
	if ca.Due(dir, "node", time.Now(), pki.NodeURI(id)) || !ca.Due(dir, "node", time.Now(), pki.NodeURI(uuid.New())) {
		t.Error("it is not the node that decides whether a certificate is due")
	}
	loaded, err := pki.Load(dir, "node")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if node, err := pki.LoadedNode(loaded); err != nil || node != id.String() {
			t.Errorf("the certificate is of node %q: %v", node, err)
		}
		if err := ca.Deliver(dir, "node", time.Hour, pki.NodeURI(id)); err != nil { // a renewal
			t.Fatal(err)
		}
	}
}
