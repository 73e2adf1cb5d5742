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
	// Resolver, where it is set, finds CNAMEs that the server does not know: those of zones elsewhere that lead to
	// its zones.
	Resolver string
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
	cfg.Server, cfg.Resolver = withPort(cfg.Server), withPort(cfg.Resolver)
	c := &client{cfg: cfg, dns: dns.Client{Net: "tcp", Timeout: timeout}}
	if cfg.Key != "" {
		c.cfg.Key = dns.CanonicalName(cfg.Key)
		c.dns.TsigSecret = map[string]string{c.cfg.Key: cfg.Secret}
	}
	return c, nil
}

// refusal is an answer of the name server after which a repeat makes sense only once the server's zones or keys are
// changed. Its text is for the API.
type refusal string

func (r refusal) Error() string { return string(r) }

// permanent are the answers that stay the same until the server's zones or keys are changed.
var permanent = map[int]bool{
	dns.RcodeFormatError: true, dns.RcodeNameError: true, dns.RcodeNotImplemented: true, dns.RcodeRefused: true,
	dns.RcodeNotAuth: true, dns.RcodeNotZone: true,
}

// set makes name the only name that ip resolves to; an empty name removes the record. A second call changes nothing.
func (c *client) set(ctx context.Context, ip netip.Addr, name string) error {
	rev, err := dns.ReverseAddr(ip.String())
	if err != nil {
		return err
	}
	owner, zone, err := c.home(ctx, rev)
	if err != nil {
		return fmt.Errorf("find the zone of %s: %w", rev, err)
	}
	header := dns.RR_Header{Name: owner, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}
	m := new(dns.Msg).SetUpdate(zone)
	// A server ignores records beside a CNAME and answers that all is well: one that came since makes the update fail.
	m.RRsetNotUsed([]dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME}}})
	m.RemoveRRset([]dns.RR{&dns.PTR{Hdr: header}})
	if name != "" {
		m.Insert([]dns.RR{&dns.PTR{Hdr: header, Ptr: dns.Fqdn(name)}})
	}
	r, err := c.exchange(ctx, m, c.cfg.Server)
	if err != nil {
		return fmt.Errorf("update %s: %w", zone, err)
	}
	switch text := dns.RcodeToString[r.Rcode]; {
	case r.Rcode == dns.RcodeSuccess:
		return nil
	case permanent[r.Rcode]:
		return refusal(fmt.Sprintf("the name server answers %s to an update of the zone %s", text, zone))
	default:
		return fmt.Errorf("update %s: the name server answers %s", zone, text)
	}
}

// maxAliases is how many CNAMEs home follows, one after another.
const maxAliases = 8

// home returns the name that holds the record of a reverse name, and the zone of that name. It follows CNAMEs, as they
// delegate parts of a reverse zone (RFC 2317). What the server itself does not know, the resolver is asked for.
func (c *client) home(ctx context.Context, rev string) (name, zone string, err error) {
	name = rev
	for range maxAliases {
		next, zone, rcode, err := c.look(ctx, name, c.cfg.Server)
		if err == nil && zone == "" && next == name && c.cfg.Resolver != "" {
			next, _, _, err = c.look(ctx, name, c.cfg.Resolver) // whose zones are not the server's
		}
		switch {
		case err != nil:
			return "", "", err
		case zone != "":
			return next, zone, nil
		case next == name && rcode != dns.RcodeSuccess && !permanent[rcode]:
			return "", "", fmt.Errorf("the name server answers %s", dns.RcodeToString[rcode])
		case next == name:
			return "", "", refusal(fmt.Sprintf("the name server has no zone for %s (%s)", name, dns.RcodeToString[rcode]))
		}
		name = next
	}
	return "", "", refusal(fmt.Sprintf("more than %d CNAMEs lead on from %s", maxAliases, rev))
}

// look asks a server for the SOA record of a name. It returns the name to which CNAMEs of the answer lead, and the
// zone of that name, "" if the answer names none.
func (c *client) look(ctx context.Context, name, server string) (last, zone string, rcode int, err error) {
	r, err := c.exchange(ctx, new(dns.Msg).SetQuestion(name, dns.TypeSOA), server)
	if err != nil {
		return "", "", 0, err
	}
	last = dns.CanonicalName(name)
	for hops, target := 0, alias(r, last); target != ""; target = alias(r, last) {
		if hops++; hops > len(r.Answer) {
			return "", "", 0, refusal(fmt.Sprintf("the CNAMEs of %s lead back to themselves", name))
		}
		last = target
	}
	for _, rr := range append(r.Answer, r.Ns...) {
		if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, last) {
			zone = soa.Hdr.Name
		}
	}
	return last, zone, r.Rcode, nil
}

// alias returns the name to which a CNAME of an answer leads from name, "" without one.
func alias(r *dns.Msg, name string) string {
	for _, rr := range r.Answer {
		if c, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(c.Hdr.Name) == name {
			return dns.CanonicalName(c.Target)
		}
	}
	return ""
}

// exchange asks a server. Questions to the primary server are signed, and so must be its answers.
func (c *client) exchange(ctx context.Context, m *dns.Msg, server string) (*dns.Msg, error) {
	signed := c.cfg.Key != "" && server == c.cfg.Server
	if signed {
		m.SetTsig(c.cfg.Key, dns.HmacSHA256, fudge, time.Now().Unix())
	}
	r, _, err := c.dns.ExchangeContext(ctx, m, server)
	if err != nil {
		return nil, err
	}
	if signed && r.IsTsig() == nil {
		return nil, errors.New("the answer is not signed")
	}
	return r, nil
}

// withPort returns the address of a name server with its port.
func withPort(server string) string {
	if _, _, err := net.SplitHostPort(server); err != nil && server != "" {
		return net.JoinHostPort(server, "53")
	}
	return server
}
