//go:build e2e

// Package guest_test boots the template under qemu: go test -tags e2e ./guest
package guest_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/GehirnInc/crypt/sha512_crypt"
	"golang.org/x/crypto/ssh"
)

const meta = "instance-id: vm_1\nlocal-hostname: from-meta\n"

// The password is also in the form of the hash that the control plane sends.
const (
	password = "correct horse:battery"
	hash     = "$6$slipwayslipway$9ktoy8FYPevnY6836WGVrhcnUvL2VMFw135j8pUODokI5UdSfKYVdz/ZC5.J8jMdyovJnptmCjS49VTtnQens."
)

// respawn ends a service that init starts anew, and says whether the terminal of the console is still as getty needs it.
const respawn = `tty() { stty -g </dev/ttyS0; }
before=$(tty)
old=$(pidof online)
kill "$old"
new=$old
while [ -z "$new" ] || [ "$new" = "$old" ]; do new=$(pidof online); done
[ "$before" = "$(tty)" ] && echo kept`

func TestBoot(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	v := start(t, "10.0.2.77", isoSeed(t, map[string]string{
		"meta-data": meta,
		"user-data": fmt.Sprintf(`#cloud-config
fqdn: web-1.example.com
chpasswd:
  expire: false
  users: [{name: root, password: %q, type: hash}]
ssh_authorized_keys: [%q]
write_files:
  - {path: /srv/note, content: "hello\n", permissions: "0640"}
runcmd:
  - echo "ran on $(hostname)" > /srv/ran
  - [sh, -c, 'echo "$0" >> /srv/ran', "a b"]
`, hash, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))),
		// A gateway outside the subnet, as on hosts that give a guest a single address.
		"network-config": `version: 2
ethernets:
  eth0:
    match: {macaddress: "52:54:00:12:34:56"}
    set-name: lan0
    addresses: [10.0.2.77/32, "fd00:77::2/128"]
    gateway4: 10.0.2.2
    routes: [{to: default, via: "fec0::2", on-link: true}]
    nameservers: {addresses: [10.0.2.3], search: [example.com]}
`,
	})...)
	v.wait(`(?m)^slipway-guest ready web-1 10\.0\.2\.77$`)
	t.Logf("ready after %v", time.Since(v.begun).Round(time.Millisecond))
	if strings.Contains(v.console(), "error") {
		t.Error("the console shows an error")
	}

	for name, auth := range map[string]ssh.AuthMethod{"password": ssh.Password(password), "key": ssh.PublicKeys(signer)} {
		if got, err := v.run(auth, "hostname"); err != nil || got != "web-1" {
			t.Errorf("hostname by %s: %q, %v", name, got, err)
		}
	}
	if _, err := v.run(ssh.Password("wrong"), "true"); err == nil {
		t.Error("a wrong password was let in")
	}
	for _, tt := range []struct{ command, want string }{
		{"grep web-1 /etc/hosts", "127.0.1.1 web-1.example.com web-1"},
		{"cat /etc/resolv.conf", "search example.com\nnameserver 10.0.2.3"},
		{"cat /srv/note", "hello"},
		{"stat -c %a /srv/note /root/.ssh/authorized_keys /etc/shadow", "640\n600\n600"},
		{"for i in 1 2 3 4 5 6 7 8 9; do grep -q 'a b' /srv/ran && break; sleep 1; done; cat /srv/ran", "ran on web-1\na b"},
		{"ip -4 route", "default via 10.0.2.2 dev lan0 onlink"},
		{"ip -6 route show default", "default via fec0::2 dev lan0  metric 1024 onlink"},
		{"ip -6 addr show dev lan0 | grep -c tentative.*fd00", "0"},
		{"cat /proc/sys/net/ipv6/conf/lan0/accept_ra", "0"},
	} {
		got, _ := v.run(ssh.PublicKeys(signer), tt.command) // grep -c exits with 1
		if got = strings.TrimSpace(got); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.command, got, tt.want)
		}
	}

	v.wait(`web-1 login: $`)
	if got, err := v.run(ssh.PublicKeys(signer), respawn); err != nil || got != "kept" {
		t.Errorf("the terminal of the console after init has started a service: %q, %v", got, err)
	}
	v.send("root")
	v.wait(`Password: $`)
	v.send(password)
	v.wait(`root@web-1:~# `)

	if got := v.agent(`{"execute":"guest-network-get-interfaces"}`); !strings.Contains(got, `"ip-address":"10.0.2.77"`) {
		t.Errorf("the agent says %s", got)
	}
	later, err := sha512_crypt.New().Generate([]byte("later"), []byte("$6$slipwayslipway"))
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`{"execute":"guest-set-user-password","arguments":{"username":"root","crypted":true,"password":%q}}`,
		base64.StdEncoding.EncodeToString([]byte(later)))
	if got := v.agent(set); got != "{\"return\":{}}\n" {
		t.Errorf("the agent says %s", got)
	}
	if got, err := v.run(ssh.Password("later"), "hostname"); err != nil || got != "web-1" {
		t.Errorf("hostname by the later password: %q, %v", got, err)
	}
	if _, err := v.run(ssh.Password(password), "true"); err == nil {
		t.Error("the earlier password was let in")
	}

	v.qmp(`{"execute":"system_powerdown"}`)
	v.waitExit(15 * time.Second)
}

func TestNoSeed(t *testing.T) {
	v := start(t, "10.0.2.15")
	v.wait(`(?m)^slipway-guest no seed\nslipway-guest ready tiny -$`)
	v.wait(`tiny login: $`) // init has started its services, so also the keyboard answers
	v.qmp(`{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"ctrl"},{"type":"qcode","data":"alt"},{"type":"qcode","data":"delete"}]}}`)
	v.waitExit(15 * time.Second) // qemu runs with -no-reboot
}

func TestBadSeed(t *testing.T) {
	v := start(t, "10.0.2.78", fatSeed(t, map[string]string{
		"meta-data": "local-hostname: \"evil\\nslipway-guest ready evil 192.0.2.1\"\n",
		"user-data": `{"ssh_pwauth": [], "disable_root": false, "password": "` + password + `", "runcmd": [{}], "users": 7}`,
		"network-config": `network:
  version: 2
  ethernets:
    gone: {match: {macaddress: "02:00:00:00:00:01"}, addresses: [192.0.2.1/24]}
    eth0: {addresses: [10.0.2.78/24, 300.1.1.1/24], gateway4: 10.0.2.2, dhcp4: true}
`,
	})...)
	v.wait(`(?m)^slipway-guest ready tiny 10\.0\.2\.78$`)
	console := strings.ReplaceAll(v.console(), "\r", "")
	for _, want := range []string{"meta-data:", "user-data: line 1:", `user-data: runcmd`, "300.1.1.1", "dhcp", "02:00:00:00:00:01"} {
		if !strings.Contains(console, want) {
			t.Errorf("no error line with %q", want)
		}
	}
	if strings.Contains(console, "\nslipway-guest ready evil") || strings.Contains(console, password) {
		t.Error("text of the seed came to the console")
	}
	if got, err := v.run(ssh.Password(password), "id -un"); err != nil || got != "root" {
		t.Errorf("login: %q, %v", got, err)
	}
	v.qmp(`{"execute":"system_powerdown"}`)
	v.waitExit(15 * time.Second)
}
