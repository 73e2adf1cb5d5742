package machine

import (
	"net/netip"
	"slices"
	"testing"

	"slipway.dev/services/vm/internal/address"
)

func TestOnNode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		addr    string
		prefix  int32
		gateway string
		want    string
	}{
		{"10.0.0.5", 24, "10.0.0.1", "10.0.0.1/24"},
		{"10.0.0.5", 31, "10.0.0.4", "10.0.0.4/31"},
		{"2001:db8::5", 64, "2001:db8::1", "2001:db8::1/64"},
		{"2001:db8::5", 64, "fe80::1", ""},
		{"198.51.100.9", 30, "203.0.113.1", ""},
		{"198.18.5.7", 32, "198.18.5.1", ""},
		{"2001:db8::7", 128, "2001:db8::1", ""},
		{"10.0.0.5", 24, "", ""},
	} {
		got, ok := onNode(address.Address{Addr: tt.addr, Prefix: tt.prefix, Gateway: tt.gateway})
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%s/%d by %s: %v, want %q", tt.addr, tt.prefix, tt.gateway, got, tt.want)
		}
	}
}

func TestIsGlobal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"10.1.2.3": false, "172.31.0.1": false, "192.168.1.1": false, "100.64.7.1": false, "100.127.255.255": false,
		"198.18.0.1": false, "192.0.2.1": false, "169.254.1.1": false, "240.0.0.1": false, "fd00::1": false, "2001:db8::1": false,
		"100.63.0.1": true, "100.128.0.1": true, "172.32.0.1": true, "8.8.8.8": true, "2a00::1": true, "2606:4700::1": true,
	} {
		if got := isGlobal(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestReachableNameServer(t *testing.T) {
	t.Parallel()
	four, six := address.Address{Family: 4}, address.Address{Family: 6}
	for _, tt := range []struct {
		list []string
		has  []address.Address
		want []string
	}{
		{[]string{"1.1.1.1", "9.9.9.9"}, []address.Address{six}, []string{"1.1.1.1", "9.9.9.9", "2606:4700:4700::1111"}},
		{[]string{"1.1.1.1"}, []address.Address{four, six}, []string{"1.1.1.1"}},
		{[]string{"2001:db8::53"}, []address.Address{six}, []string{"2001:db8::53"}},
		{[]string{"2001:db8::53"}, []address.Address{four}, []string{"2001:db8::53", "1.1.1.1"}},
		{[]string{"1.1.1.1"}, nil, []string{"1.1.1.1"}},
	} {
		if got := reachable(tt.list, tt.has); !slices.Equal(got, tt.want) {
			t.Errorf("%v with %v: %v", tt.list, tt.has, got)
		}
	}
}

// TestNameServers: a network without name servers of its own contributes the cluster's, whatever other networks have.
func TestNameServers(t *testing.T) {
	t.Parallel()
	plain, own := address.Address{Family: 4}, address.Address{Family: 4, DNS: []string{"192.0.2.53"}}
	both := address.Address{Family: 4, DNS: []string{"9.9.9.9", "192.0.2.53"}}
	for _, tt := range []struct {
		name string
		has  []address.Address
		want []string
	}{
		{"no address", nil, []string{"1.1.1.1", "9.9.9.9"}},
		{"none of its own", []address.Address{plain, plain}, []string{"1.1.1.1", "9.9.9.9"}},
		{"its own", []address.Address{own}, []string{"192.0.2.53"}},
		{"a second address with its own", []address.Address{plain, own}, []string{"1.1.1.1", "9.9.9.9", "192.0.2.53"}},
		{"a first address with its own", []address.Address{own, plain}, []string{"192.0.2.53", "1.1.1.1", "9.9.9.9"}},
		{"the same in both", []address.Address{plain, both}, []string{"1.1.1.1", "9.9.9.9", "192.0.2.53"}},
	} {
		p := &plan{Machine: &Machine{DNS: []string{"1.1.1.1", "9.9.9.9"}}, Addresses: tt.has}
		if got := p.nameServers(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
