// Package proxies knows the proxies in front of the gateway, which may name the client of a request.
package proxies

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	resolveEvery = 10 * time.Second
	resolveFor   = 5 * time.Second
)

// whole are networks of which no configuration may trust all addresses: any client in one could claim to be any other client.
var whole = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/8"), netip.MustParsePrefix("fd00::/8"),
}

// Lookup returns the addresses of a host.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// List is the list of trusted proxies: addresses, networks and names of hosts.
type List struct {
	networks []netip.Prefix
	names    []string
	lookup   Lookup
	found    atomic.Pointer[map[string][]netip.Addr] // by name
}

var hostName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,251}[a-zA-Z0-9])?$`)

// Parse reads a list. It refuses networks as large as a whole private one.
func Parse(entries []string, lookup Lookup) (*List, error) {
	l := &List{lookup: lookup}
	for _, text := range entries {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if a, err := netip.ParseAddr(text); err == nil {
			a = a.Unmap().WithZone("")
			l.networks = append(l.networks, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		if p, err := netip.ParsePrefix(text); err == nil {
			if slices.ContainsFunc(whole, func(w netip.Prefix) bool { return p.Bits() <= w.Bits() && p.Overlaps(w) }) {
				return nil, fmt.Errorf("trusted proxies: %s is a whole private network, in which any client could name any address: "+
					"name the proxies, or their own small network", text)
			}
			l.networks = append(l.networks, p.Masked())
			continue
		}
		if !hostName.MatchString(text) || strings.Trim(text, "0123456789.") == "" {
			return nil, fmt.Errorf("trusted proxies: %.60q is no address, network or host", text)
		}
		l.names = append(l.names, text)
	}
	return l, nil
}

// Empty reports whether no proxy is trusted.
func (l *List) Empty() bool { return l == nil || len(l.networks) == 0 && len(l.names) == 0 }

// Contains reports whether a proxy has this address.
func (l *List) Contains(a netip.Addr) bool {
	if l == nil {
		return false
	}
	if slices.ContainsFunc(l.networks, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return true
	}
	if found := l.found.Load(); found != nil {
		for _, list := range *found {
			if slices.Contains(list, a) {
				return true
			}
		}
	}
	return false
}

// Follow looks the names up again and again until ctx ends. A name that cannot be looked up keeps its addresses.
func (l *List) Follow(ctx context.Context, log *slog.Logger) error {
	if l == nil || len(l.names) == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		l.resolve(ctx, log)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// resolve looks all names up.
func (l *List) resolve(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, resolveFor)
	defer cancel()
	next := map[string][]netip.Addr{}
	for _, name := range l.names {
		list, err := l.lookup(ctx, name)
		if err != nil {
			log.Warn("a trusted proxy has no address", "name", name, "err", err)
			if before := l.found.Load(); before != nil {
				next[name] = (*before)[name]
			}
			continue
		}
		for _, a := range list {
			next[name] = append(next[name], a.Unmap().WithZone(""))
		}
	}
	l.found.Store(&next)
}
