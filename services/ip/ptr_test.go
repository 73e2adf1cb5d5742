package ip_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/service"
	"slipway.dev/services/ip"
)

const (
	tsigKey    = "slipway."
	tsigSecret = "c2xpcHdheS10ZXN0LXNlY3JldC1vZi10aGUtdGVzdA=="
)

// nameServer is a primary name server for the reverse zone of 192.0.2.0/24, and one of IPv6, that takes signed updates only.
type nameServer struct {
	mu      sync.Mutex
	records map[string]string
	aliases map[string]string // CNAMEs
	zones   []string
	away    bool // it refuses everything
	open    bool // it answers without a signature
	refused int
	updates int // those that it took
}

// zone returns the zone that a name is in, "" for none.
func (n *nameServer) zone(name string) (zone string) {
	for _, z := range n.zones {
		if dns.IsSubDomain(z, name) && len(z) > len(zone) {
			zone = z
		}
	}
	return zone
}

// update makes the changes of a message as a server does: all of them or none.
func (n *nameServer) update(r *dns.Msg) int {
	zone := r.Question[0].Name
	if !slices.Contains(n.zones, zone) {
		return dns.RcodeNotAuth
	}
	for _, rr := range r.Answer { // what must not be there
		if rr.Header().Class == dns.ClassNONE && rr.Header().Rrtype == dns.TypeCNAME && n.aliases[rr.Header().Name] != "" {
			return dns.RcodeYXRrset
		}
	}
	for _, rr := range r.Ns {
		if n.zone(rr.Header().Name) != zone {
			return dns.RcodeNotZone
		}
	}
	for _, rr := range r.Ns {
		switch ptr, ok := rr.(*dns.PTR); {
		case n.aliases[rr.Header().Name] != "": // ignored, without a word (RFC 2136, 3.4.2.2)
		case ok && rr.Header().Class == dns.ClassINET:
			n.records[rr.Header().Name] = ptr.Ptr
		case rr.Header().Class == dns.ClassANY && rr.Header().Rrtype == dns.TypePTR:
			delete(n.records, rr.Header().Name)
		}
	}
	n.updates++
	return dns.RcodeSuccess
}

// look answers for the SOA record of a name: it follows CNAMEs as far as it has the zones.
func (n *nameServer) look(m *dns.Msg, name string) {
	if n.zone(name) == "" {
		m.Rcode = dns.RcodeRefused
		return
	}
	for range 10 {
		target := n.aliases[dns.CanonicalName(name)]
		if target == "" {
			break
		}
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: target})
		if name = dns.CanonicalName(target); n.zone(name) == "" {
			return
		}
	}
	if n.records[name] == "" {
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: n.zone(name), Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.", Mbox: "mb."}}
}

func (n *nameServer) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg).SetReply(r)
	switch {
	case n.away || !n.open && (r.IsTsig() == nil || w.TsigStatus() != nil):
		n.refused++
		m.Rcode = dns.RcodeRefused
	case r.Opcode == dns.OpcodeUpdate:
		m.Rcode = n.update(r)
	default:
		n.look(m, r.Question[0].Name)
	}
	if r.IsTsig() != nil {
		m.SetTsig(tsigKey, dns.HmacSHA256, 300, time.Now().Unix())
	}
	_ = w.WriteMsg(m)
}

func (n *nameServer) says(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.records[name]
}

// serveNames starts a name server and returns its address.
func serveNames(t *testing.T) (*nameServer, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{
		records: map[string]string{}, aliases: map[string]string{}, zones: []string{"2.0.192.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."},
	}
	ready := make(chan struct{})
	s := &dns.Server{
		Listener: l, Handler: n, TsigSecret: map[string]string{tsigKey: tsigSecret}, NotifyStartedFunc: func() { close(ready) },
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
	}
	go func() { _ = s.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() { _ = s.Shutdown() })
	return n, l.Addr().String()
}

func TestPTR(t *testing.T) {
	t.Parallel()
	n, addr := serveNames(t)
	w := startWith(t, ip.Config{DNSServer: addr, DNSTSIGName: "slipway", DNSTSIGSecret: tsigSecret})
	w.run(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	w.newPool(t, "p", "192.0.2.16/28", "2001:db8::/64")
	owner := newOwner()
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1, Ipv6Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	four, six := r.GetAddresses()[0].GetId(), r.GetAddresses()[1].GetId()
	set := func(id int32, owner, name string) error {
		_, err := w.addresses.SetPTR(t.Context(), &ippb.SetPTRRequest{Id: id, Owner: owner, Domain: name})
		return err
	}
	say := func(name, want string) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); n.says(name) != want; time.Sleep(5 * time.Millisecond) { // between two looks
			if time.Now().After(deadline) {
				t.Fatalf("%s is %q, want %q", name, n.says(name), want)
			}
		}
	}
	rev4 := "16.2.0.192.in-addr.arpa."
	rev6 := "2." + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa."
	if err := set(four, owner, "Web1.Example.COM."); err != nil {
		t.Fatal(err)
	}
	say(rev4, "web1.example.com.")
	if a, err := w.list.GetAddress(w.admin(t), &ippb.GetAddressRequest{Id: four}); err != nil || a.GetDomain() != "web1.example.com" || a.GetPtrState() == "" {
		t.Error(a, err)
	}

	// A name server that is away delays no request; when it is back it gets the latest name.
	n.mu.Lock()
	n.away, n.refused = true, 0
	n.mu.Unlock()
	for _, name := range []string{"a.example.com", "b.example.com"} {
		if err := set(four, "", name); err != nil {
			t.Fatal(err)
		}
	}
	if err := set(six, owner, "six.example.com"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) { // between two looks
		n.mu.Lock()
		tried := n.refused
		n.mu.Unlock()
		if tried > 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody asks the name server")
		}
	}
	n.mu.Lock()
	n.away = false
	n.mu.Unlock()
	say(rev4, "b.example.com.")
	say(rev6, "six.example.com.")

	for what, tt := range map[string]struct {
		id                  int32
		owner, name, reason string
	}{
		"another's":  {four, newOwner(), "x.example.com", "NOT_THE_OWNER"},
		"a free one": {four + 1, "", "x.example.com", "NOT_THE_OWNER"},
		"none":       {999, "", "x.example.com", "NOT_FOUND"},
		"no name":    {four, owner, "under score.example.com", "INVALID_ARGUMENT"},
		"no host":    {four, owner, "under_score.example.com", "INVALID_ARGUMENT"},
		"an address": {four, owner, "192.0.2.16", "INVALID_ARGUMENT"},
		"a line":     {four, owner, "a.example.com\nb", "INVALID_ARGUMENT"},
	} {
		wantFault(t, what, set(tt.id, tt.owner, tt.name), tt.reason, "")
	}

	// What is given back has no name any more.
	if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	say(rev4, "")
	say(rev6, "")
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) { // between two looks
		var left int
		if err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM ptr`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records are remembered", left)
		}
	}
}

// TestPTRWithoutServer: the names are kept, and forgotten with the address.
func TestPTRWithoutServer(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.16/28")
	owner, _ := w.reserve4(t, 1)
	l, err := w.list.ListAddresses(w.admin(t), &ippb.ListAddressesRequest{Query: where("owner", owner)})
	if err != nil {
		t.Fatal(err)
	}
	id := l.GetList()[0].GetId()
	r, err := w.addresses.SetPTR(t.Context(), &ippb.SetPTRRequest{Id: id, Domain: "web1.example.com"})
	if err != nil || r.GetPtrSerial() != 1 {
		t.Fatal(r, err)
	}
	if a, err := w.list.GetAddress(w.admin(t), &ippb.GetAddressRequest{Id: id}); err != nil || a.GetPtrState() != "kept" {
		t.Error(a, err)
	}
	if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	a, err := w.list.GetAddress(w.admin(t), &ippb.GetAddressRequest{Id: id})
	var left int
	if dbErr := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM ptr`).Scan(&left); err != nil || dbErr != nil || a.GetDomain() != "" || left != 0 {
		t.Error(a, err, left, dbErr)
	}
	_, err = ip.New(t.Context(), ip.Config{DNSServer: "x", DNSTSIGName: "y"}, service.Deps{
		Pool: w.pool, Bus: w.bus, Peers: service.Peers{"auth": w.Server().Local("x")},
	})
	if err == nil {
		t.Error("a key without a secret is taken")
	}
}

// TestPTRBehindCNAME: where a reverse zone delegates a part of itself by CNAMEs, the record is published in the zone to which
// they lead. One that cannot be published says so and why, and is tried less and less often, until it can.
func TestPTRBehindCNAME(t *testing.T) {
	t.Parallel()
	n, addr := serveNames(t)
	n.zones = append(n.zones, "0-31.2.0.192.in-addr.arpa.")
	n.aliases = map[string]string{
		"16.2.0.192.in-addr.arpa.": "Sixteen.2.0.192.in-addr.arpa.", "sixteen.2.0.192.in-addr.arpa.": "16.0-31.2.0.192.in-addr.arpa.",
		"17.2.0.192.in-addr.arpa.": "17.customer.example.", "18.2.0.192.in-addr.arpa.": "18.2.0.192.in-addr.arpa.",
	}
	w := startWith(t, ip.Config{DNSServer: addr, DNSTSIGName: "slipway", DNSTSIGSecret: tsigSecret})
	events := w.watch(t, "ip.v3.address.published")
	w.run(t)
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.16/28")
	owner := newOwner()
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	set := func(i int, name string) {
		t.Helper()
		_, err := w.addresses.SetPTR(t.Context(), &ippb.SetPTRRequest{Id: r.GetAddresses()[i].GetId(), Owner: owner, Domain: name})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(i int, state, why string) {
		t.Helper()
		w.await(t, func() string {
			a, err := w.list.GetAddress(w.admin(t), &ippb.GetAddressRequest{Id: r.GetAddresses()[i].GetId()})
			if err == nil && a.GetPtrState() == state && strings.Contains(a.GetPtrError(), why) && (why == "") == (a.GetPtrError() == "") {
				return ""
			}
			return fmt.Sprintf("%v %v, want %s, %q", a, err, state, why)
		})
	}
	set(0, "web1.example.com")
	want(0, "published", "")
	if direct, behind := n.says("16.2.0.192.in-addr.arpa."), n.says("16.0-31.2.0.192.in-addr.arpa."); direct != "" || behind != "web1.example.com." {
		t.Errorf("%q and behind the CNAMEs %q", direct, behind)
	}
	set(1, "web2.example.com")
	want(1, "failed", "no zone for 17.customer.example.")
	said := func(ip, state string) func() string {
		return func() string {
			for {
				select {
				case e := <-events:
					var p ippb.AddressPublished
					if err := e.Decode(&p); err == nil && p.GetIpAddr() == ip && p.GetState() == state && p.GetDomain() != "" &&
						(p.GetError() == "") == (state == "published") {
						return ""
					}
				default:
					return "no event says that " + ip + " is " + state
				}
			}
		}
	}
	w.await(t, said("192.0.2.16", "published"))
	w.await(t, said("192.0.2.17", "failed"))
	set(2, "web3.example.com")
	want(2, "failed", "CNAMEs")
	l, err := w.list.ListAddresses(w.admin(t), &ippb.ListAddressesRequest{Query: where("ptr_state", "failed")})
	if err != nil || l.GetSize() != 2 {
		t.Errorf("by state: %v %v", l, err)
	}
	w.await(t, func() string { // each attempt is later than the one before
		var failures int
		var grows bool
		err := w.pool.QueryRow(t.Context(), `
			SELECT failures, due > now() + failures * interval '500 ms' FROM ptr WHERE ip = '192.0.2.17'`).Scan(&failures, &grows)
		if err == nil && failures > 2 && grows {
			return ""
		}
		return fmt.Sprintf("%d failures, %v %v", failures, grows, err)
	})

	n.mu.Lock()
	n.zones = append(n.zones, "customer.example.")
	n.mu.Unlock()
	set(1, "web4.example.com") // tried at once, however long the next attempt is off
	want(1, "published", "")
	if got := n.says("17.customer.example."); got != "web4.example.com." {
		t.Errorf("in the customer's zone: %q", got)
	}
	if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	w.await(t, func() string { return n.says("16.0-31.2.0.192.in-addr.arpa.") + n.says("17.customer.example.") })
}

// TestPTRByResolver: a CNAME that the primary server does not know, because it only has the zone that the CNAME leads to, is
// found by the resolver.
func TestPTRByResolver(t *testing.T) {
	t.Parallel()
	n, addr := serveNames(t)
	n.zones = []string{"16-31.2.0.192.in-addr.arpa."}
	world, resolver := serveNames(t)
	world.open = true
	world.aliases["16.2.0.192.in-addr.arpa."] = "16.16-31.2.0.192.in-addr.arpa."
	w := startWith(t, ip.Config{DNSServer: addr, DNSResolver: resolver, DNSTSIGName: "slipway", DNSTSIGSecret: tsigSecret})
	w.run(t)
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.16/28")
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.addresses.SetPTR(t.Context(), &ippb.SetPTRRequest{Id: r.GetAddresses()[0].GetId(), Domain: "web1.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	w.await(t, func() string {
		if got := n.says("16.16-31.2.0.192.in-addr.arpa."); got != "web1.example.com." {
			return "published is " + got
		}
		return ""
	})
	if world.updates != 0 {
		t.Error("the resolver got an update")
	}
}
