// Package rdns keeps which name an address resolves to (PTR records), and publishes it to a name server by DNS dynamic
// update (RFC 2136) with TSIG.
package rdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Config names the server and the key. Without a server PTR records are kept but not published.
type Config struct {
	Server string // host, or host and port
	// Key and Secret (base64) sign requests by HMAC-SHA256. Without a key they are not signed.
	Key, Secret string
}

// client updates one primary name server.
type client struct {
	cfg Config
	dns dns.Client
}

const (
	timeout = 5 * time.Second
	ttl     = 3600
	fudge   = 300 // seconds that the two clocks may differ
)

// newClient returns a client, or nil without a server.
func newClient(cfg Config) (*client, error) {
	if cfg.Server == "" {
		return nil, nil
	}
	if (cfg.Key == "") != (cfg.Secret == "") {
		return nil, errors.New("rdns: a key has a name and a secret")
	}
	if _, _, err := net.SplitHostPort(cfg.Server); err != nil {
		cfg.Server = net.JoinHostPort(cfg.Server, "53")
	}
	c := &client{cfg: cfg, dns: dns.Client{Net: "tcp", Timeout: timeout}}
	if cfg.Key != "" {
		c.cfg.Key = dns.CanonicalName(cfg.Key)
		c.dns.TsigSecret = map[string]string{c.cfg.Key: cfg.Secret}
	}
	return c, nil
}

// set makes name the only name that ip resolves to; an empty name removes the record. A second call changes nothing.
func (c *client) set(ctx context.Context, ip netip.Addr, name string) error {
	rev, err := dns.ReverseAddr(ip.String())
	if err != nil {
		return err
	}
	zone, err := c.zone(ctx, rev)
	if err != nil {
		return fmt.Errorf("find the zone of %s: %w", rev, err)
	}
	header := dns.RR_Header{Name: rev, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}
	m := new(dns.Msg).SetUpdate(zone)
	m.RemoveRRset([]dns.RR{&dns.PTR{Hdr: header}})
	if name != "" {
		m.Insert([]dns.RR{&dns.PTR{Hdr: header, Ptr: dns.Fqdn(name)}})
	}
	r, err := c.exchange(ctx, m)
	if err != nil {
		return fmt.Errorf("update %s: %w", zone, err)
	}
	if r.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("update %s: the name server answers %s", zone, dns.RcodeToString[r.Rcode])
	}
	return nil
}

// zone returns the zone of a name: it asks for the SOA record of the name, and the answer names the zone that the name
// is in.
func (c *client) zone(ctx context.Context, name string) (string, error) {
	r, err := c.exchange(ctx, new(dns.Msg).SetQuestion(name, dns.TypeSOA))
	if err != nil {
		return "", err
	}
	for _, rr := range append(r.Answer, r.Ns...) {
		if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) {
			return soa.Hdr.Name, nil
		}
	}
	return "", fmt.Errorf("the name server has none (%s)", dns.RcodeToString[r.Rcode])
}

func (c *client) exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	if c.cfg.Key != "" {
		m.SetTsig(c.cfg.Key, dns.HmacSHA256, fudge, time.Now().Unix())
	}
	r, _, err := c.dns.ExchangeContext(ctx, m, c.cfg.Server)
	if err != nil {
		return nil, err
	}
	if c.cfg.Key != "" && r.IsTsig() == nil {
		return nil, errors.New("the answer is not signed")
	}
	return r, nil
}
