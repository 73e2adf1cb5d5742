package pki_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipway.dev/pkg/pki"
)

func TestWriteAndLoad(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	if err := pki.Write(dir, time.Hour, "auth", "vm"); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := pki.Write(dir, time.Hour, "ip"); err != nil { // a service that comes later
		t.Fatal(err)
	}
	if again, err := os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil || !bytes.Equal(ca, again) {
		t.Errorf("the authority changed: %v", err)
	}
	for _, key := range []string{"ca.key", "auth.key", "ip.key"} {
		if info, err := os.Stat(filepath.Join(dir, key)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", key, info.Mode(), err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil { // services do without
		t.Fatal(err)
	}
	for _, service := range []string{"auth", "vm", "ip"} {
		c, err := pki.Load(dir, service)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := c.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: c.RootCAs, DNSName: service}); err != nil {
			t.Errorf("%s: %v", service, err)
		}
		if c.ClientAuth != tls.RequireAndVerifyClientCert || c.MinVersion != tls.VersionTLS13 {
			t.Errorf("%s: peers are not checked: %+v", service, c)
		}
	}
	if _, err := pki.Load(dir, "node"); err == nil {
		t.Error("a service without a certificate was loaded")
	}
}
