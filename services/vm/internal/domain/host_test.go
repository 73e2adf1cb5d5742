package domain_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/domain"
)

func TestPowerWishes(t *testing.T) {
	t.Parallel()
	type host = domain.Host
	for _, tt := range []struct {
		name   string
		do     func(*host) error
		from   domain.State
		to     domain.State
		wanted string
		err    error
	}{
		{"start", (*host).Start, domain.Stopped, domain.Starting, domain.WantActive, nil},
		{"start", (*host).Start, domain.Crashed, domain.Starting, domain.WantActive, nil},
		{"start", (*host).Start, domain.Active, domain.Active, domain.WantActive, nil},
		{"start", (*host).Start, domain.Creating, domain.Creating, domain.WantActive, nil},
		{"start", (*host).Start, domain.Deleting, domain.Deleting, "", domain.ErrDeleting},
		{"stop", (*host).Stop, domain.Active, domain.Stopping, domain.WantStopped, nil},
		{"stop", (*host).Stop, domain.Stopped, domain.Stopped, domain.WantStopped, nil},
		{"stop", (*host).Stop, domain.Deleting, domain.Deleting, "", domain.ErrDeleting},
		{"restart", (*host).Restart, domain.Active, domain.Stopping, domain.WantActive, nil},
		{"delete", (*host).Delete, domain.Creating, domain.Deleting, domain.WantAbsent, nil},
		{"delete", (*host).Delete, domain.Deleting, domain.Deleting, "", domain.ErrDeleting},
	} {
		t.Run(tt.name+" "+string(tt.from), func(t *testing.T) {
			t.Parallel()
			h := &host{State: tt.from}
			if err := tt.do(h); !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if h.State != tt.to || h.Wanted != tt.wanted {
				t.Errorf("%s wanted %q, want %s wanted %q", h.State, h.Wanted, tt.to, tt.wanted)
			}
		})
	}
}

func TestWishNamesTheFieldAtFault(t *testing.T) {
	t.Parallel()
	good := func() domain.Wish { return domain.Wish{Name: "web1", OS: 1, Password: "secret"} }
	if w := good(); w.Check() != nil || w.Fill(128, 64, "sha") != nil || w.CPUs != 1 || w.RAM != 128 || w.Disks[0].SizeMiB != 64 {
		t.Fatalf("a short wish is not filled: %+v", w)
	}
	for field, spoil := range map[string]func(*domain.Wish){
		"name":        func(w *domain.Wish) { w.Name = "../etc" },
		"comment":     func(w *domain.Wish) { w.Comment = strings.Repeat("x", 5000) },
		"domain":      func(w *domain.Wish) { w.Domain = "a b\nruncmd:" },
		"os":          func(w *domain.Wish) { w.OS = 0 },
		"password":    func(w *domain.Wish) { w.Password = "" },
		"cpu_number":  func(w *domain.Wish) { w.CPUs = -1 },
		"ram_mib":     func(w *domain.Wish) { w.RAM = 1 << 30 },
		"hdd_mib":     func(w *domain.Wish) { w.Disks = []domain.Disk{{SizeMiB: -5}} },
		"ipv4_number": func(w *domain.Wish) { w.IPv4Number = 1000 },
		"ip_addr":     func(w *domain.Wish) { w.WishedAddress = "here" },
		"image":       func(w *domain.Wish) { w.Image = 3 },
		"preset":      func(w *domain.Wish) { w.Preset = 3 },
		"ssh_keys":    func(w *domain.Wish) { w.SSHKeys = []string{`command="rm" ssh-ed25519 AAAA`} },
	} {
		w := good()
		spoil(&w)
		f, ok := fault.From(w.Check())
		if !ok || f.Field != field || f.Msg == "" || strings.HasPrefix(f.Msg, field) {
			t.Errorf("%s: fault %+v", field, f)
		}
	}
	for field, w := range map[string]domain.Wish{
		"ram_mib": {RAM: 64}, "hdd_mib": {Disks: []domain.Disk{{SizeMiB: 10}}}, "disks": {Disks: []domain.Disk{{}, {}}},
	} {
		f, ok := fault.From(w.Fill(128, 64, "sha"))
		if !ok || f.Field != field {
			t.Errorf("%s: fault %+v", field, f)
		}
	}
}

func TestHostname(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, domain, hostname, fqdn string }{
		{"web1", "", "web1", "web1.slipway.internal"},
		{"My Shop_2", "", "my-shop-2", "my-shop-2.slipway.internal"},
		{"web1", "Mein.Example.com.", "mein", "mein.example.com"},
		{"__", "", "host", "host.slipway.internal"},
	} {
		h, f := domain.Hostname(tt.name, tt.domain, "{name}.slipway.internal")
		if h != tt.hostname || f != tt.fqdn {
			t.Errorf("%q %q: %s %s, want %s %s", tt.name, tt.domain, h, f, tt.hostname, tt.fqdn)
		}
	}
}

func TestMACIsStableAndLocal(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	m := domain.MAC(id)
	if m.String() != domain.MAC(id).String() || m[0]&3 != 2 {
		t.Errorf("MAC %s", m)
	}
}
