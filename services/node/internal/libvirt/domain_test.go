package libvirt

import (
	"encoding/xml"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"
	"pgregory.net/rapid"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/image"
	"slipway.dev/services/node/internal/template"
)

var update = flag.Bool("update", false, "rewrite testdata")

var sum = strings.Repeat("5a", 32)

func sample() hyper.Machine {
	return hyper.Machine{
		UUID: uuid.MustParse("11111111-2222-4333-8444-555555555555"), Name: "web & <mail>", CPUs: 2, MemoryMiB: 2048, Seed: true,
		Disks: []hyper.Disk{{Name: "root", SizeMiB: 10240, Template: sum}, {Name: "data-1", SizeMiB: 1024}},
		NICs: []hyper.NIC{{
			MAC: net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}, Network: "sb0", AntiSpoofing: true,
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")},
			NodeSide: &hyper.NodeSide{
				Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")},
				NAT:       []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			},
		}},
		Meta: hyper.Meta{StackID: "stack-a", NodeID: "node-1", HostID: 42, Fence: 7},
	}
}

func sampleHost(kind string) host {
	return host{
		kind: kind, cache: "none", dir: "/var/lib/slipway/machines/11111111-2222-4333-8444-555555555555",
		agent: "/var/lib/slipway/machines/11111111-2222-4333-8444-555555555555/agent",
		tty:   "/var/lib/slipway/machines/11111111-2222-4333-8444-555555555555/serial",
		base: func(s string) (template.Template, error) {
			return template.Template{SHA256: s, Format: image.QCOW2, Path: "/var/lib/slipway/templates/" + s + ".qcow2"}, nil
		},
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	bare := sample()
	bare.Disks, bare.NICs, bare.Seed, bare.Name = nil, nil, false, ""
	grows := sample()
	grows.Growth, grows.CPU = true, hyper.CPU{Mode: hyper.CPUCustom, Model: "Nehalem", Nesting: true, Weight: 50}
	grows.Throttle = hyper.Throttle{ReadMbit: 80, WriteIOPS: 300, Weight: 200}
	grows.NICs[0].InMbit, grows.NICs[0].OutMbit, grows.NICs[0].AntiSpoofing = 100, 50, false
	grows.NICs[0].Firewall = []hyper.Rule{
		{Protocols: []string{hyper.TCP, hyper.UDP}, From: 80, To: 90}, {Drop: true}, {Drop: true, Out: true, Protocols: []string{hyper.ICMP}},
	}
	sata := sample()
	sata.CD, sata.Disks[0].Bus = "iso-1", hyper.SATA
	for _, tt := range []struct {
		name, kind string
		m          hyper.Machine
	}{
		{"sata", "kvm", sata}, {"kvm", "kvm", sample()}, {"tcg", "qemu", sample()}, {"bare", "kvm", bare}, {"test", "test", sample()}, {"grows", "kvm", grows},
	} {
		got, err := render(tt.m, sampleHost(tt.kind))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", tt.name+".xml")
		if *update {
			if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSpace(string(want)), strings.TrimSpace(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// TestStringsStayData: whatever the strings, the document has the same shape, and they come back as they went in or as
// XML must have them.
func TestStringsStayData(t *testing.T) {
	t.Parallel()
	shape := func(s string) (out []string) {
		for d := xml.NewDecoder(strings.NewReader(s)); ; {
			tok, err := d.Token()
			if err != nil {
				return out
			}
			if e, ok := tok.(xml.StartElement); ok {
				out = append(out, e.Name.Local)
			}
		}
	}
	plain, err := render(sample(), sampleHost("kvm"))
	if err != nil {
		t.Fatal(err)
	}
	want := shape(plain)
	rapid.Check(t, func(t *rapid.T) {
		m := sample()
		m.Name = rapid.OneOf(rapid.StringN(1, 80, -1), rapid.StringMatching(`(</?[a-z]+>|&[a-z]+;|'|"|\]\]>){1,9}`)).Draw(t, "name")
		m.Meta.StackID = rapid.StringMatching(`[a-z<>&'"/]{1,30}`).Draw(t, "stack")
		if m.Check() != nil {
			return
		}
		got, err := render(m, sampleHost("kvm"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, shape(got)); diff != "" {
			t.Fatalf("another shape: %s", diff)
		}
		var d libvirtxml.Domain
		if err := d.Unmarshal(got); err != nil {
			t.Fatal(err)
		}
		meta, err := decodeMetadata(d.Metadata.XML)
		if err != nil || d.Title != m.Name || meta.meta() != m.Meta {
			t.Fatalf("title %q, meta %+v, %v", d.Title, meta.meta(), err)
		}
	})
}

func TestGuardsComeBack(t *testing.T) {
	t.Parallel()
	s, err := newMetadata(sample()).encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMetadata(s)
	if err != nil || len(m.Guards) != 1 || len(m.Bridges) != 1 {
		t.Fatalf("%+v %v", m, err)
	}
	got, err := m.Guards[0].nic()
	want := sample().NICs[0]
	want.Network, want.NodeSide = "", nil
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	c := Config{Root: t.TempDir(), StackID: "a", NodeID: "1"}
	for range 2 {
		if err := c.claim(); err != nil {
			t.Fatal(err)
		}
	}
	c.NodeID = "2"
	if err := c.claim(); err == nil {
		t.Error("another node took the directory over")
	}
}

// TestCardsComeBack: what a machine needs of its bridges is in its definition, and is not known of one by an older agent.
func TestCardsComeBack(t *testing.T) {
	t.Parallel()
	m := sample()
	m.NICs = append(m.NICs, hyper.NIC{Network: "sb1"}, hyper.NIC{Network: "sb2", NodeSide: &hyper.NodeSide{}})
	text, err := newMetadata(m).encode()
	if err != nil {
		t.Fatal(err)
	}
	meta, err := decodeMetadata(text)
	if err != nil {
		t.Fatal(err)
	}
	got, err := meta.nics()
	if err != nil {
		t.Fatal(err)
	}
	var want []hyper.NIC
	for _, n := range m.NICs {
		want = append(want, hyper.NIC{Network: n.Network, Addresses: n.Addresses, NodeSide: n.NodeSide})
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	older, err := decodeMetadata(`<machine xmlns="` + metaNS + `"><stack>a</stack><bridge>sb0</bridge></machine>`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := older.nics(); err != nil || len(got) != 1 || got[0].Network != "sb0" || got[0].NodeSide != nil {
		t.Errorf("of an older agent: %+v %v", got, err)
	}
}
