package ip_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/child"
	"slipway.dev/services/ip"
)

// bindZones are the zones of a provider that has delegated half a dozen addresses to itself by CNAMEs (RFC 2317), and one of IPv6.
var bindZones = map[string]string{
	"2.0.192.in-addr.arpa":      "16 CNAME 16.0-31\n17 CNAME 17.elsewhere.example.\n",
	"0-31.2.0.192.in-addr.arpa": "",
	"8.b.d.0.1.0.0.2.ip6.arpa":  "",
}

// startBIND starts Debian's name server with the zones, and returns its address. It takes updates that are signed with the key
// of the tests.
func startBIND(t *testing.T) string {
	t.Helper()
	named, err := exec.LookPath("named")
	if err != nil {
		named = "/usr/sbin/named"
	}
	program, err := os.ReadFile(named) // a copy of it, because Debian confines the original to its folders
	if err != nil {
		t.Fatalf("install bind9, as make packages does: %v", err)
	}
	var said string
	for range 10 { // a port below those that the kernel gives away, which another program may have all the same
		port := 15000 + rand.IntN(15000)
		ok := false
		if ok, said = tryBIND(t, program, port); ok {
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	t.Fatalf("the name server does not listen:\n%s", said)
	return ""
}

// tryBIND starts the name server on a port, and returns false with what the server says if it cannot listen there.
func tryBIND(t *testing.T, program []byte, port int) (ok bool, text string) {
	t.Helper()
	dir := t.TempDir()
	conf := fmt.Sprintf(`options {
	directory %q; pid-file "named.pid"; session-keyfile "session.key"; managed-keys-directory ".";
	listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; dnssec-validation no; notify no;
};
controls { };
key "slipway" { algorithm hmac-sha256; secret %q; };
`, dir, port, tsigSecret)
	files := map[string][]byte{"named": program}
	for zone, records := range bindZones {
		conf += fmt.Sprintf("zone %q { type primary; file %q; allow-update { key slipway; }; };\n", zone, zone)
		files[zone] = fmt.Appendf(nil, "$TTL 60\n@ SOA ns.example. mail.example. 1 3600 600 86400 60\n@ NS ns.example.\n%s", records)
	}
	files["named.conf"] = []byte(conf)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "named.log")
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "named"), "-f", "-n", "1", "-c", filepath.Join(dir, "named.conf"), "-L", log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test is cut off
	ended := make(chan string, 1)
	go func() {
		out, err := child.Output(cmd)
		ended <- fmt.Sprintf("%s%v", out, err)
	}()
	t.Cleanup(func() { stop(); <-ended })
	for ; ; time.Sleep(10 * time.Millisecond) { // between two looks
		said, _ := os.ReadFile(log) // which is there a little later
		if text = string(said); strings.Contains(text, " running\n") {
			return strings.Contains(text, "listening on IPv4 interface lo, 127.0.0.1#") && !strings.Contains(text, "in use"), text
		}
		select {
		case more := <-ended:
			ended <- more // for the cleanup
			return false, text + more
		default:
		}
	}
}

// TestPTROnBIND: a real name server publishes the names, also behind CNAMEs, and what it cannot publish is said.
func TestPTROnBIND(t *testing.T) {
	t.Parallel()
	at := startBIND(t)
	w := startWith(t, ip.Config{DNSServer: at, DNSTSIGName: "slipway", DNSTSIGSecret: tsigSecret})
	w.run(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	w.newPool(t, "p", "192.0.2.16/28", "2001:db8::/64")
	owner := newOwner()
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 3, Ipv6Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	list := r.GetAddresses()
	for i, a := range list {
		req := &ippb.SetPTRRequest{Id: a.GetId(), Owner: owner, Domain: fmt.Sprintf("host%d.example.com", i)}
		if _, err := w.addresses.SetPTR(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []struct{ state, why string }{
		{"published", ""}, {"failed", "no zone for 17.elsewhere.example."}, {"published", ""}, {"published", ""},
	} {
		w.await(t, func() string {
			a, err := w.list.GetAddress(w.admin(t), &ippb.GetAddressRequest{Id: list[i].GetId()})
			if err == nil && a.GetPtrState() == want.state && strings.Contains(a.GetPtrError(), want.why) {
				return ""
			}
			return fmt.Sprintf("%v %v, want %s, %q", a, err, want.state, want.why)
		})
	}
	resolves := func(address string) string {
		t.Helper()
		name, err := dns.ReverseAddr(address)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			client := dns.Client{Net: "tcp", Timeout: time.Minute}
			m, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypePTR), at)
			if err != nil {
				t.Fatal(err)
			}
			for _, rr := range m.Answer {
				switch rr := rr.(type) {
				case *dns.PTR:
					return rr.Hdr.Name + " " + rr.Ptr
				case *dns.CNAME:
					name = rr.Target
				}
			}
		}
		return ""
	}
	for i, want := range []string{
		"16.0-31.2.0.192.in-addr.arpa. host0.example.com.", "", "18.2.0.192.in-addr.arpa. host2.example.com.",
		"2." + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa. host3.example.com.",
	} {
		if got := resolves(list[i].GetIpAddr()); got != want {
			t.Errorf("%s resolves to %q, want %q", list[i].GetIpAddr(), got, want)
		}
	}
	if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		w.await(t, func() string { return resolves(a.GetIpAddr()) })
	}
}
