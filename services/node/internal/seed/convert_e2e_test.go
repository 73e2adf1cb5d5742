//go:build e2e

package seed_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/seed"
)

// netConvert runs `cloud-init devel net-convert` for many documents in one process: it takes a second to start. A run
// spoils the settings of the distribution for the next one.
const netConvert = `
import copy, json, sys
from cloudinit.cmd.devel import net_convert
from cloudinit.distros.debian import Distro
settings = Distro.renderer_configs
for argv in json.load(sys.stdin):
    Distro.renderer_configs = copy.deepcopy(settings)
    net_convert.handle_args("net-convert", net_convert.get_parser().parse_args(argv))
`

// config is what a renderer made of a seed.
type config struct {
	Addresses, Gateways, DNS []string
	OnLink                   []string // gateways that have a route of their own
}

// renderers are those of Debian 12's cloud-init, with how their files are read. onLink says that the renderer's program
// takes a gateway that no address covers for one on the link: ifupdown calls "ip route add … onlink", NetworkManager adds
// a route to the gateway.
var renderers = []struct {
	name, distro, file string
	read               func(text string) config
	onLink             bool
}{
	{"eni", "debian", "etc/network/interfaces.d/50-cloud-init", func(text string) config {
		return config{
			Addresses: words(text, `(?m)^ +address (\S+)$`), Gateways: words(text, `(?m)^ +gateway (\S+)$`),
			DNS: words(text, `(?m)^ +dns-nameservers (.+)$`),
		}
	}, true},
	{"networkd", "debian", "etc/systemd/network/10-cloud-init-eth0.network", func(text string) config {
		c := config{Addresses: words(text, `(?m)^Address=(\S+)$`), DNS: words(text, `(?m)^DNS=(.+)$`)}
		for _, section := range strings.Split(text, "[")[1:] {
			by, to := words(section, `(?m)^Gateway=(\S+)$`), words(section, `(?m)^Destination=([^/]+)/`)
			switch {
			case !strings.HasPrefix(section, "Route]"):
			case len(to) == 0:
				c.Gateways = append(c.Gateways, by...)
			case by[0] == "0.0.0.0" || by[0] == "::": // for networkd the same as none
				c.OnLink = append(c.OnLink, to...)
			default:
				c.Gateways = append(c.Gateways, "not a default route: "+section)
			}
		}
		return c
	}, false},
	{"netplan", "debian", "etc/netplan/50-cloud-init.yaml", func(text string) config {
		list := func(after string) []string {
			part := regexp.MustCompile(`(?m)^ +` + after + `:\n((?: +- .+\n)+)`).FindString(text)
			return words(part, `(?m)^ +- (\S+)$`)
		}
		nameservers := regexp.MustCompile(`(?s)nameservers:\n +addresses:\n((?: +- \S+\n)+)`).FindString(text)
		return config{
			Addresses: list("addresses"), Gateways: words(text, `(?m)^ +gateway[46]: (\S+)$`),
			DNS: words(nameservers, `(?m)^ +- (\S+)$`), OnLink: words(text, `(?m)^ +-   scope: link\n +to: ([^/]+)/`),
		}
	}, false},
	{"network-manager", "debian", "etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection", func(text string) config {
		var c config
		for _, v := range words(text, `(?m)^address\d+=(\S+)$`) {
			c.Addresses = append(c.Addresses, strings.Split(v, ",")[0])
		}
		c.Gateways, c.DNS = words(text, `(?m)^gateway=(\S+)$`), words(text, `(?m)^dns=(\S+)$`)
		return c
	}, true},
	{"sysconfig", "rhel", "etc/sysconfig/network-scripts/ifcfg-eth0", func(text string) config {
		c := config{
			Gateways: words(text, `(?m)^(?:GATEWAY|IPV6_DEFAULTGW)=([^%\s]+)`), DNS: words(text, `(?m)^DNS\d=(\S+)$`),
			Addresses: words(text, `(?m)^(?:IPV6ADDR|IPV6ADDR_SECONDARIES)="?([^"\n]+)"?$`),
		}
		for i, ip := range words(text, `(?m)^IPADDR\d*=(\S+)$`) {
			mask := net.IPMask(net.ParseIP(words(text, `(?m)^NETMASK\d*=(\S+)$`)[i]).To4())
			ones, _ := mask.Size()
			c.Addresses = append(c.Addresses, fmt.Sprintf("%s/%d", ip, ones))
		}
		return c
	}, true},
}

// words returns the words of all matches of form's group.
func words(text, form string) (out []string) {
	for _, m := range regexp.MustCompile(form).FindAllStringSubmatch(text, -1) {
		out = append(out, strings.FieldsFunc(m[1], func(r rune) bool { return r == ' ' || r == ';' })...)
	}
	return out
}

// shapes are the networks of hosts.
var shapes = []struct {
	name      string
	addresses []string
	gateways  []string
	outside   []string // of the gateways
	dns       []string
}{
	{"IPv4", []string{"192.0.2.10/24"}, []string{"192.0.2.1"}, nil, []string{"192.0.2.53"}},
	{"IPv6", []string{"2001:db8::10/64"}, []string{"2001:db8::1"}, nil, []string{"2001:db8::53"}},
	{"both", []string{"192.0.2.10/24", "2001:db8::10/64"}, []string{"192.0.2.1", "2001:db8::1"}, nil, []string{"192.0.2.53", "2001:db8::53"}},
	{"a single address", []string{"198.51.100.7/32"}, []string{"203.0.113.1"}, []string{"203.0.113.1"}, []string{"192.0.2.53"}},
	{"single addresses", []string{"198.51.100.7/32", "2001:db8:5::7/128"}, []string{"203.0.113.1", "2001:db8::1"}, []string{"203.0.113.1", "2001:db8::1"}, nil},
	{"a router on the link", []string{"192.0.2.10/24", "2001:db8::10/64"}, []string{"192.0.2.1", "fe80::1"}, nil, nil},
	{"a router outside", []string{"198.51.100.9/30"}, []string{"203.0.113.1"}, []string{"203.0.113.1"}, nil},
	{"a router outside, IPv6", []string{"2001:db8:5::7/64"}, []string{"2001:db8:6::1"}, []string{"2001:db8:6::1"}, nil},
	{"second addresses", []string{"192.0.2.10/24", "198.51.100.7/26", "2001:db8::10/64", "2001:db8:5::7/64"}, []string{"192.0.2.1", "2001:db8::1"}, nil, []string{"192.0.2.53"}},
	{"no gateway", []string{"192.0.2.10/24"}, nil, nil, nil},
}

func link(addresses, gateways []string) hyper.Link {
	l := hyper.Link{MAC: net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}}
	for _, a := range addresses {
		l.Addresses = append(l.Addresses, netip.MustParsePrefix(a))
	}
	for _, g := range gateways {
		l.Gateways = append(l.Gateways, netip.MustParseAddr(g))
	}
	return l
}

// TestEveryRendererUnderstands: what Debian 12's cloud-init makes of a seed has the addresses, default routes and name
// servers of the host, whatever renders it.
func TestEveryRendererUnderstands(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("cloud-init"); err != nil {
		t.Fatal("cloud-init is missing: make packages")
	}
	dir := t.TempDir()
	out := func(shape int, renderer string) string { return filepath.Join(dir, fmt.Sprint(shape), renderer) }
	var runs [][]string
	for i, s := range shapes {
		want := hyper.Seed{InstanceID: "i-1", Hostname: "h", Links: []hyper.Link{link(s.addresses, s.gateways)}}
		for _, d := range s.dns {
			want.DNS = append(want.DNS, netip.MustParseAddr(d))
		}
		docs, err := seed.Render(want)
		if err != nil {
			t.Fatal(err)
		}
		source := filepath.Join(dir, fmt.Sprint(i, ".json"))
		if err := os.WriteFile(source, docs.NetworkConfig, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, r := range renderers {
			runs = append(runs, []string{"-p", source, "-k", "yaml", "-O", r.name, "-D", r.distro, "-d", out(i, r.name), "-m", "eth0,52:54:00:01:02:03"})
		}
	}
	stdin, err := json.Marshal(runs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "-c", netConvert)
	cmd.Stdin = strings.NewReader(string(stdin))
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("net-convert: %v\n%s", err, text)
	}
	for i, s := range shapes {
		for _, r := range renderers {
			text, err := os.ReadFile(filepath.Join(out(i, r.name), r.file))
			if err != nil {
				t.Errorf("%s by %s: %v", s.name, r.name, err)
				continue
			}
			got := r.read(string(text))
			want := config{Addresses: s.addresses, Gateways: s.gateways, DNS: s.dns}
			if !r.onLink {
				want.OnLink = s.outside
			}
			for _, list := range []*[]string{&got.Addresses, &got.Gateways, &got.DNS, &got.OnLink, &want.Addresses, &want.Gateways, &want.DNS, &want.OnLink} {
				*list = slices.Compact(slices.Sorted(slices.Values(*list)))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s by %s (-want +got):\n%s\n%s", s.name, r.name, diff, text)
			}
		}
	}
}
