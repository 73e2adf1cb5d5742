package host

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/node"
)

func TestCreateSpecNamesTheFieldAtFault(t *testing.T) {
	t.Parallel()
	good := func() createSpec { return createSpec{Name: "web1", OS: 1, Password: "secret"} }
	w := good()
	if w.check() != nil || w.fill() != nil || w.CPUs != 1 {
		t.Fatalf("a short spec is not filled: %+v", w)
	}
	if x := w.on(node.Place{Template: "sha", RAM: 128, Boot: 64}); x.RAM != 128 || x.Disks[0].SizeMiB != 64 || x.Disks[0].Template != "sha" || w.Disks[0].SizeMiB != 0 {
		t.Fatalf("on a node the spec is %+v, elsewhere %+v", x, w)
	}
	for field, spoil := range map[string]func(*createSpec){
		"name":        func(w *createSpec) { w.Name = "../etc" },
		"comment":     func(w *createSpec) { w.Comment = strings.Repeat("x", 5000) },
		"domain":      func(w *createSpec) { w.Domain = "a b\nruncmd:" },
		"os":          func(w *createSpec) { w.OS = 0 },
		"password":    func(w *createSpec) { w.Password = "" },
		"cpu_number":  func(w *createSpec) { w.CPUs = -1 },
		"ram_mib":     func(w *createSpec) { w.RAM = 1 << 30 },
		"hdd_mib":     func(w *createSpec) { w.Disks = []disk.Disk{{SizeMiB: -5}} },
		"ipv4_number": func(w *createSpec) { w.IPv4Number = 1000 },
		"ip_addr":     func(w *createSpec) { w.Address = "here" },
		"image":       func(w *createSpec) { w.Image = 3 },
		"preset":      func(w *createSpec) { w.Preset = 3 },
		"ssh_keys":    func(w *createSpec) { w.SSHKeys = []string{`command="rm" ssh-ed25519 AAAA`} },
	} {
		w := good()
		spoil(&w)
		f, ok := fault.From(w.check())
		if !ok || f.Field != field || f.Msg == "" || strings.HasPrefix(f.Msg, field) {
			t.Errorf("%s: fault %+v", field, f)
		}
	}
	w = createSpec{Disks: []disk.Disk{{}, {}}}
	if f, ok := fault.From(w.fill()); !ok || f.Field != "disks" {
		t.Errorf("a second disk without a size: %+v", f)
	}
}

func TestHostname(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, domain, hostname, fqdn string }{
		{"web1", "", "web1", "web1.slipway.internal"},
		{"My Shop_2", "", "my-shop-2", "my-shop-2.slipway.internal"},
		{"web1", "mein.example.com", "mein", "mein.example.com"},
		{"__", "", "host", "host.slipway.internal"},
	} {
		h, f := hostnames(tt.name, tt.domain, "{name}.slipway.internal")
		if h != tt.hostname || f != tt.fqdn {
			t.Errorf("%q %q: %s %s, want %s %s", tt.name, tt.domain, h, f, tt.hostname, tt.fqdn)
		}
	}
}

// TestDomain: a domain is kept as name servers and guests have it, or refused.
func TestDomain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Mein.Example.com.": "mein.example.com", "bücher.example": "xn--bcher-kva.example",
		"under_score.example": "", "192.0.2.1": "", "a..b": "", strings.Repeat("a.", 128) + "a": "",
	} {
		s := createSpec{Name: "web1", OS: 1, Password: "x", Domain: in}
		f, refused := fault.From(s.check())
		if refused != (want == "") || refused && f.Field != "domain" || !refused && s.Domain != want {
			t.Errorf("%.40q: %q %v", in, s.Domain, f)
		}
	}
}

func TestMACIsStableAndLocal(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	m := MAC(id)
	if m.String() != MAC(id).String() || m[0]&3 != 2 {
		t.Errorf("MAC %s", m)
	}
}

func TestMarkDeleting(t *testing.T) {
	t.Parallel()
	h := &Host{State: Creating}
	if err := h.MarkDeleting(); err != nil || h.State != Deleting || h.Wanted != WantAbsent {
		t.Fatalf("%v: %+v", err, h)
	}
	if err := h.MarkDeleting(); !errors.Is(err, ErrDeleting) {
		t.Errorf("a second delete: %v", err)
	}
}
