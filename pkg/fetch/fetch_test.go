package fetch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"slipway.dev/pkg/fault"
)

// TestPublic lists addresses that must not be reached, in each form that a system call takes, and some that may be.
func TestPublic(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	for _, a := range []string{
		"127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
		"100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
		"224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.88.99.1",
		"::", "::1", "::7f00:1", "fe80::1", "fe80::1%lo", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "2001::1",
		"2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "100::1", "5f00::1", "3fff::1",
		"2606:4700::1%eth0",
	} {
		if err := c.control("tcp", net.JoinHostPort(a, "80"), nil); !errors.Is(err, errReach) {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range []string{"1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"} {
		if err := c.control("tcp", net.JoinHostPort(a, "443"), nil); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	c = New(Config{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}})
	for a, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "127.0.0.1": false} {
		if err := c.control("tcp", net.JoinHostPort(a, "80"), nil); (err == nil) != want {
			t.Errorf("%s with a mirror allowed: %v", a, err)
		}
	}
}

// TestOwnAddress: a public address that is this machine's own is not the internet.
func TestOwnAddress(t *testing.T) {
	t.Parallel()
	if own, err := isOwn(netip.MustParseAddr("127.0.0.1")); !own || err != nil {
		t.Errorf("%v %v", own, err)
	}
	if own, err := isOwn(netip.MustParseAddr("8.8.8.8")); own || err != nil {
		t.Errorf("%v %v", own, err)
	}
}

// loopback allows what tests serve.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// TestOpen: a file comes as its server sends it, and each way in which it does not has its fault.
func TestOpen(t *testing.T) {
	t.Parallel()
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inner") }))
	t.Cleanup(inner.Close)
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("asks for %q", r.Header.Get("Accept-Encoding"))
		}
		_, _ = io.WriteString(w, "hello")
	})
	mux.HandleFunc("/gone", http.NotFound)
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/once", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/file", http.StatusFound) })
	mux.HandleFunc("/scheme", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/inner", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(inner.URL, "127.0.0.1", "127.0.0.2", 1), http.StatusFound)
	})
	mux.HandleFunc("/half", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
	})
	mux.HandleFunc("/silent", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "some")
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })

	only := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	for _, tt := range []struct {
		path string
		want error
		text string
	}{
		{"/file", nil, "hello"},
		{"/once", nil, "hello"},
		{"/gone", ErrFailed, ""},
		{"/busy", fault.Unavailable, ""},
		{"/loop", ErrFailed, ""},
		{"/scheme", ErrFailed, ""},
		{"/inner", ErrReach, ""},
		{"/half", fault.Unavailable, "half"},
		{"/silent", fault.Unavailable, "*"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			c := New(Config{Allow: only, Plain: true})
			if tt.path == "/silent" {
				c.quiet = 50 * time.Millisecond
			}
			f, err := c.Open(t.Context(), s.URL+tt.path)
			var text []byte
			if err == nil {
				text, err = io.ReadAll(f)
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			if !errors.Is(err, tt.want) || (string(text) != tt.text && tt.text != "*") {
				t.Errorf("%q %v, want %q %v", text, err, tt.text, tt.want)
			}
		})
	}
	if _, err := New(Config{Allow: loopback}).Open(t.Context(), s.URL+"/file"); !errors.Is(err, fault.Invalid) {
		t.Errorf("http where https is asked for: %v", err)
	}
	if _, err := New(Config{Plain: true}).Open(t.Context(), s.URL+"/file"); !errors.Is(err, ErrReach) {
		t.Errorf("the machine itself: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f, err := New(Config{Allow: only, Plain: true}).Open(ctx, s.URL+"/silent")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cancel()
	if _, err := io.ReadAll(f); !errors.Is(err, context.Canceled) {
		t.Errorf("a download that was cancelled: %v", err)
	}
}

// TestProxy: with a proxy, all requests go to it, and it decides what they reach.
func TestProxy(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.String()) }))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Config{Proxy: u, Plain: true}).Open(t.Context(), "http://mirror.invalid/a.iso")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); string(text) != "http://mirror.invalid/a.iso" || err != nil {
		t.Errorf("%q %v", text, err)
	}
}

// TestCheck: what cannot be tried is refused at once, with the field.
func TestCheck(t *testing.T) {
	t.Parallel()
	for address, plain := range map[string]bool{
		"": true, "a.iso": true, "ftp://a.example/a.iso": true, "file:///etc/passwd": true, "http://a.example/a.iso": false, "https://": true,
		"https:a.example": true, "https://u:p@a.example/a.iso": true, "https://a.example/" + strings.Repeat("a", 2048): true, "http://[::1": true,
	} {
		f, ok := fault.From(Check(address, plain))
		if !ok || f.Code.String() != "InvalidArgument" || f.Field != "url" {
			t.Errorf("%.40s: %v", address, f)
		}
	}
	for _, address := range []string{"https://a.example/a.iso", "http://a.example:8080/a.iso?x=1"} {
		if err := Check(address, true); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
