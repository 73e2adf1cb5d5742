package pki_test

import (
	"crypto/tls"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipway.dev/pkg/pki"
)

// TestRenewed replaces the certificates of two connected services: new connections use the new certificates, the old connection
// stays open, and no service is restarted.
func TestRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := pki.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	deliver := func() {
		t.Helper()
		for _, s := range []string{"auth", "vm"} {
			if err := ca.Deliver(dir, s, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	deliver()
	server, err := pki.Load(dir, "auth")
	if err != nil {
		t.Fatal(err)
	}
	client, err := pki.Load(dir, "vm")
	if err != nil {
		t.Fatal(err)
	}
	client.ServerName = "auth"
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)

	first := dial(t, l.Addr(), client)
	serials := map[string]bool{first.serial.String(): true}
	deliver()
	second := dial(t, l.Addr(), client)
	if serials[second.serial.String()] {
		t.Error("the old certificate is still used for new connections")
	}
	first.say(t)
	second.say(t)

	// An interrupted renewal leaves files that do not match: the previous certificate stays in use.
	if err := os.WriteFile(filepath.Join(dir, "auth.crt"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if third := dial(t, l.Addr(), client); third.serial.Cmp(second.serial) != 0 {
		t.Error("half a renewal changed the certificate")
	}
	deliver()
	if fourth := dial(t, l.Addr(), client); fourth.serial.Cmp(second.serial) == 0 {
		t.Error("after half a renewal the whole one is not taken")
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := pki.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !ca.Due(dir, "auth", time.Now()) {
		t.Error("a missing certificate is not due")
	}
	if err := ca.Deliver(dir, "auth", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]bool{0: false, 11 * time.Hour: false, 13 * time.Hour: true, 48 * time.Hour: true} {
		if got := ca.Due(dir, "auth", time.Now().Add(after)); got != want {
			t.Errorf("after %s: due %v", after, got)
		}
	}
	other, err := pki.OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if !other.Due(dir, "auth", time.Now()) {
		t.Error("a certificate of another authority is not due")
	}
	if again, err := pki.OpenAuthority(dir); err != nil || again.Due(dir, "auth", time.Now()) {
		t.Errorf("the authority of a directory is not kept: %v", err)
	}
}

type conn struct {
	*tls.Conn
	serial *big.Int
}

func dial(t *testing.T, addr net.Addr, c *tls.Config) conn {
	t.Helper()
	nc, err := tls.Dial("tcp", addr.String(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	k := conn{nc, nc.ConnectionState().PeerCertificates[0].SerialNumber}
	k.say(t)
	return k
}

func (c conn) say(t *testing.T) {
	t.Helper()
	if _, err := c.Write([]byte{7}); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != 7 {
		t.Fatalf("echo: %v %v", b, err)
	}
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}
