package seed

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	aKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@here"
	aHash = "$6$saltsalt$9ktoy8FYPevnY6836WGVrhcnUvL2VMFw135j8pUODokI5UdSfKYVdz"
)

func parse(meta, user, network string) (Seed, []error) {
	return Parse(fstest.MapFS{
		"meta-data":      {Data: []byte(meta)},
		"user-data":      {Data: []byte(user)},
		"network-config": {Data: []byte(network)},
	})
}

// check wants got's errors to contain the parts of want, one for one.
func check(t *testing.T, errs []error, want ...string) {
	t.Helper()
	if len(errs) != len(want) {
		t.Errorf("errors %v, want %d like %q", errs, len(want), want)
		return
	}
	for i, err := range errs {
		if !strings.Contains(err.Error(), want[i]) {
			t.Errorf("error %q, want %q", err, want[i])
		}
	}
}

func TestWholeSeed(t *testing.T) {
	t.Parallel()
	got, errs := parse("instance-id: vm_1\nlocal-hostname: meta\n", `#cloud-config
fqdn: web-1.example.com
ssh_pwauth: false
disable_root: yes
chpasswd: {expire: false, users: [{name: root, password: "`+aHash+`"}]}
ssh_authorized_keys: ["`+aKey+`"]
runcmd: ["echo $HOME", [touch, /x y]]
write_files: [{path: /a/b, content: aGk=, encoding: b64, permissions: 0600, append: true}]
package_update: true
`, `version: 2
ethernets:
  id0:
    match: {macaddress: "52:54:00:AA:BB:CC"}
    set-name: eth0
    mtu: 1450
    addresses: [192.0.2.2/24, "2001:db8::2/64"]
    gateway4: 192.0.2.1
    gateway6: fe80::1
    routes: [{to: 10.1.2.3/8, via: 192.0.2.9, metric: 5}]
    nameservers: {addresses: [192.0.2.53, "2001:db8::53"], search: [example.com]}
`)
	check(t, errs)
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	want := Seed{
		InstanceID: "vm_1", Hostname: "web-1", FQDN: "web-1.example.com", NoPassword: true, NoRoot: true,
		Password: Password{Hash: aHash},
		Keys:     []string{aKey},
		Files:    []File{{Path: "/a/b", Content: []byte("hi"), Mode: 0o600, Append: true}},
		Commands: [][]string{{"sh", "-c", "echo $HOME"}, {"touch", "/x y"}},
		Links: []Link{{
			MAC: []byte{0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}, SetName: "eth0", MTU: 1450,
			Addresses: []netip.Prefix{prefix("192.0.2.2/24"), prefix("2001:db8::2/64")},
			Routes: []Route{
				{To: prefix("0.0.0.0/0"), Via: addr("192.0.2.1")},
				{To: prefix("::/0"), Via: addr("fe80::1")},
				{To: prefix("10.0.0.0/8"), Via: addr("192.0.2.9"), Metric: 5},
			},
		}},
		DNS:    []netip.Addr{addr("192.0.2.53"), addr("2001:db8::53")},
		Search: []string{"example.com"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestMissingFiles(t *testing.T) {
	t.Parallel()
	_, errs := Parse(fstest.MapFS{})
	check(t, errs, "meta-data is missing", "user-data is missing")
	s, errs := Parse(fstest.MapFS{"meta-data": {Data: []byte("local-hostname: a")}, "user-data": {}})
	check(t, errs)
	if s.Hostname != "a" || s.Links != nil {
		t.Errorf("got %+v", s)
	}
	_, errs = Parse(fstest.MapFS{"meta-data": {Data: make([]byte, maxFile+1)}, "user-data": {}})
	check(t, errs, "more than")
}

func TestHostname(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ meta, user, host, fqdn, err string }{
		{"local-hostname: a", "", "a", "", ""},
		{"local-hostname: a.example.com", "", "a", "a.example.com", ""},
		{"local-hostname: a", "hostname: b", "b", "", ""},
		{"local-hostname: a", "fqdn: c.d", "c", "c.d", ""},
		{"local-hostname: a", "hostname: b\nfqdn: c.d", "b", "c.d", ""},
		{"local-hostname: 7", "", "7", "", ""},
		{"local-hostname: a", `hostname: "b\nc"`, "a", "", "no host name"},
		{"local-hostname: -a", "", "", "", "no host name"},
		{`local-hostname: "a b"`, "", "", "", "no host name"},
		{"local-hostname: a..b", "", "", "", "no host name"},
		{"local-hostname: " + strings.Repeat("a", 64), "", "", "", "no host name"},
		{"local-hostname: " + strings.Repeat("a.", 130) + "a", "", "", "", "too long"},
		{"local-hostname: [a]", "", "", "", "line 1: wrong type"},
		{"local-hostname: \"é\"", "", "", "", "no host name"},
		{"\x00\xff", "", "", "", "not YAML"},
		{"- a\n- b", "", "", "", "wrong type"},
	} {
		s, errs := parse(tt.meta, "#cloud-config\n"+tt.user, "version: 2")
		if s.Hostname != tt.host || s.FQDN != tt.fqdn {
			t.Errorf("%q %q: %q %q", tt.meta, tt.user, s.Hostname, s.FQDN)
		}
		if tt.err == "" {
			check(t, errs)
		} else {
			check(t, errs, tt.err)
		}
	}
}

// Whatever the seed is, Parse returns, and no error shows a password or can start a new line.
func FuzzParse(f *testing.F) {
	f.Add("local-hostname: a", "#cloud-config\npassword: x", "version: 2\nethernets: {a: {dhcp4: 1}}")
	f.Add("&a [*a]", `{"runcmd": [[], {}], "users": [1, default, {name: root, passwd: []}]}`, "network: {network: {}}")
	f.Add("a: &a [b]\nb: *a", "#cloud-config\nwrite_files: [{}]\nssh_pwauth: {}", "version: 2\nethernets: {a: {routes: [{}]}}")
	f.Fuzz(func(t *testing.T, meta, user, network string) {
		s, _ := parse(meta, user, network)
		if strings.ContainsAny(s.Hostname+s.FQDN+s.Password.Hash+s.Password.Text+strings.Join(s.Keys, ""), "\n\r\x00") {
			t.Errorf("control character in %+v", s)
		}
	})
}
