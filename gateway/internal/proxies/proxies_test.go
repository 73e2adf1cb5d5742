package proxies

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"192.0.2.1": true, "192.0.2.0/24": true, "10.1.0.0/16": true, "172.18.0.0/16": true, "192.168.7.0/24": true, "2001:db8::/32": true,
		"fd12:3456::/32": true, "edge": true, "proxy-1.example.com": true, " 10.0.0.1 ": true, "::1": true,
		"10.0.0.0/8": false, "10.7.0.0/8": false, "172.16.0.0/12": false, "192.168.0.0/16": false, "100.64.0.0/10": false, "0.0.0.0/0": false,
		"0.0.0.0/1": false, "128.0.0.0/1": false, "192.160.0.0/11": false, "::/0": false, "fc00::/7": false, "fd00::/8": false,
		"": true, "300.1.1.1": false, "10.0.0.1/33": false, "a b": false, "http://edge": false, "-x": false,
	} {
		if _, err := Parse([]string{"192.0.2.9", text}, nil); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	l, err := Parse([]string{"192.0.2.1", "198.51.100.0/28"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"192.0.2.1": true, "192.0.2.2": false, "198.51.100.15": true, "198.51.100.16": false, "::1": false} {
		if l.Contains(netip.MustParseAddr(text)) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	if (*List)(nil).Contains(netip.MustParseAddr("192.0.2.1")) {
		t.Error("no list has an address")
	}
}

// TestNames checks that the addresses of a name follow it, and stay when the name cannot be looked up.
func TestNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer, failed := "192.0.2.1", error(nil)
		l, err := Parse([]string{"edge"}, func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(answer)}, failed
		})
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = l.Follow(ctx, slog.New(slog.NewTextHandler(&log, nil))) }()
		has := func(text string, want bool) {
			t.Helper()
			if l.Contains(netip.MustParseAddr(text)) != want {
				t.Errorf("%s: %v", text, !want)
			}
		}
		synctest.Wait()
		has("192.0.2.1", true)
		answer = "::ffff:192.0.2.2"
		time.Sleep(resolveEvery)
		synctest.Wait()
		has("192.0.2.1", false)
		has("192.0.2.2", true)
		failed = errors.New("no name server")
		time.Sleep(resolveEvery)
		synctest.Wait()
		has("192.0.2.2", true)
		stop()
		synctest.Wait()
		if !strings.Contains(log.String(), "name=edge") {
			t.Errorf("log: %s", log.String())
		}
	})
}
