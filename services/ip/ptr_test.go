package ip_test

import (
	"context"
	"net"
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
	away    bool // it refuses everything
	refused int
}

var zones = []string{"2.0.192.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."}

func (n *nameServer) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg).SetReply(r)
	name := r.Question[0].Name
	switch {
	case n.away || r.IsTsig() == nil || w.TsigStatus() != nil:
		n.refused++
		m.Rcode = dns.RcodeRefused
	case r.Opcode == dns.OpcodeUpdate:
		for _, rr := range r.Ns {
			if !dns.IsSubDomain(name, rr.Header().Name) {
				m.Rcode = dns.RcodeNotZone
			}
			switch ptr, ok := rr.(*dns.PTR); {
			case ok && rr.Header().Class == dns.ClassINET:
				n.records[rr.Header().Name] = ptr.Ptr
			case rr.Header().Class == dns.ClassANY && rr.Header().Rrtype == dns.TypePTR:
				delete(n.records, rr.Header().Name)
			}
		}
	default:
		m.Rcode = dns.RcodeNameError
		for _, z := range zones {
			if dns.IsSubDomain(z, name) {
				m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: z, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.", Mbox: "mb."}}
			}
		}
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
	n := &nameServer{records: map[string]string{}}
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
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
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
	if a, err := w.list.GetAddress(w.admin(t), &ippb.GetAddressRequest{Id: four}); err != nil || a.GetDomain() != "web1.example.com" {
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
