package seed_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/hostname"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/seed"
)

var update = flag.Bool("update", false, "rewrite testdata")

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXa2D5Y4J4vX2KDlAzWMfZNaQCtS4V3rwNJy4lkGVxo ann@example.com"

func full() hyper.Seed {
	return hyper.Seed{
		InstanceID: "slip-42-1", Hostname: "web1", FQDN: "web1.example.com",
		PasswordHash: "$6$abcdefgh$0123456789./ABCDEFxyz",
		SSHKeys:      []string{key},
		Links: []hyper.Link{
			{
				MAC:       net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3},
				Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("2001:db8::10/64")},
				Gateways:  []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
			},
			{
				MAC:       net.HardwareAddr{0x52, 0x54, 0, 1, 2, 4},
				Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")},
				Gateways:  []netip.Addr{netip.MustParseAddr("203.0.113.1")},
				MTU:       1450,
			},
		},
		DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, Search: []string{"example.com"},
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	own := full()
	own.UserData = "#!/bin/sh\necho hello\n"
	bare := hyper.Seed{InstanceID: "i-1", Hostname: "h"}
	for name, s := range map[string]hyper.Seed{"full": full(), "own": own, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := seed.Render(s)
			if err != nil {
				t.Fatal(err)
			}
			for file, got := range map[string][]byte{
				"meta-data": f.MetaData, "user-data": f.UserData, "network-config": f.NetworkConfig,
			} {
				path := filepath.Join("testdata", name+"."+file)
				if *update {
					if err := os.WriteFile(path, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", path, diff)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field  string
		break_ func(*hyper.Seed)
	}{
		{"hostname", func(s *hyper.Seed) { s.Hostname = "a\nruncmd: [reboot]" }},
		{"hostname", func(s *hyper.Seed) { s.Hostname = "" }},
		{"hostname", func(s *hyper.Seed) { s.Hostname = "-rf" }},
		{"fqdn", func(s *hyper.Seed) { s.FQDN = "a..b" }},
		{"instance_id", func(s *hyper.Seed) { s.InstanceID = "../x" }},
		{"password_hash", func(s *hyper.Seed) { s.PasswordHash = "secret" }},
		{"password_hash", func(s *hyper.Seed) { s.PasswordHash = "$6$a$b\nroot" }},
		{"ssh_keys[1]", func(s *hyper.Seed) { s.SSHKeys = append(s.SSHKeys, key+"\n- evil") }},
		{"ssh_keys[0]", func(s *hyper.Seed) { s.SSHKeys[0] = `command="id" ` + key }},
		{"ssh_keys[0]", func(s *hyper.Seed) { s.SSHKeys[0] = strings.Repeat("A", 1<<20) }},
		{"links[0]", func(s *hyper.Seed) { s.Links[0].MAC = nil }},
		{"links[1]", func(s *hyper.Seed) { s.Links[1].Gateways = append(s.Links[1].Gateways, s.Links[1].Gateways[0]) }},
		{"dns[0]", func(s *hyper.Seed) { s.DNS[0] = netip.Addr{} }},
		{"search[0]", func(s *hyper.Seed) { s.Search[0] = "a b" }},
		{"user_data", func(s *hyper.Seed) { s.UserData = "rm -rf /" }},
		{"user_data", func(s *hyper.Seed) { s.UserData = "#!" + strings.Repeat("x", 1<<17) }},
	} {
		s := full()
		tt.break_(&s)
		_, err := seed.Render(s)
		var f *fault.Fault
		if !errors.As(err, &f) || f.Field != tt.field {
			t.Errorf("%s: %v (%+v)", tt.field, err, f)
		}
	}
}

// TestTakesWhatTheAPITakes: a name that the API takes is never refused when the machine is made.
func TestTakesWhatTheAPITakes(t *testing.T) {
	t.Parallel()
	check := func(t require, text string) {
		name, err := hostname.Parse(text)
		if err != nil {
			return
		}
		s := full()
		s.FQDN, s.Hostname, s.Search = name, hostname.Label(name), []string{name}
		if _, err := seed.Render(s); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{
		"a", "A.Example.COM.", "web_1.example.com", "пример.испытание", "xn--e1afmkfd.example", "a--b.c", "1.2.3.four", "faß.de",
		strings.Repeat("a", 63) + ".x", strings.Repeat("a.", 126) + "a", strings.Repeat("a", 64),
	} {
		check(t, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9_ß.\-]{0,80}`)).Draw(t, "name"))
	})
}

// require is a test, or a round of one.
type require interface {
	Errorf(format string, args ...any)
}

type document struct {
	Hostname string `yaml:"hostname"`
	FQDN     string `yaml:"fqdn"`
	Users    []struct {
		Name string   `yaml:"name"`
		Keys []string `yaml:"ssh_authorized_keys"`
	} `yaml:"users"`
	Chpasswd struct {
		Users []struct{ Name, Password, Type string } `yaml:"users"`
	} `yaml:"chpasswd"`
}

// TestDecodeEqualsInput: whatever the strings, a YAML reader gets them back unchanged and nothing else, or the renderer
// refuses with a fault that names the field.
func TestDecodeEqualsInput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := func(good, name string) string {
			return rapid.OneOf(rapid.Just(good), rapid.String(), rapid.StringMatching(`[a-z0-9$./\n:\-]{0,20}`)).Draw(t, name)
		}
		s := full()
		s.InstanceID, s.Hostname = text("i-1", "id"), text("web1", "hostname")
		s.FQDN, s.PasswordHash = text("web1.example.com", "fqdn"), text("$6$a$b", "hash")
		s.SSHKeys = []string{rapid.OneOf(rapid.Just(key), rapid.Map(rapid.String(), func(c string) string { return key + c })).Draw(t, "key")}
		s.UserData = rapid.OneOf(rapid.Just(""), rapid.String(), rapid.Map(rapid.String(), func(c string) string { return "#!" + c })).Draw(t, "user")

		f, err := seed.Render(s)
		if err != nil {
			if got, ok := fault.From(err); !ok || got.Field == "" {
				t.Fatalf("refused without a field: %v", err)
			}
			return
		}
		ours, theirs := split(t, f.UserData)
		if theirs != s.UserData {
			t.Fatalf("user data %q became %q", s.UserData, theirs)
		}
		var meta map[string]string
		must(t, yaml.Unmarshal(f.MetaData, &meta))
		if diff := cmp.Diff(map[string]string{"instance-id": s.InstanceID, "local-hostname": s.Hostname}, meta); diff != "" {
			t.Fatal(diff)
		}
		var keys map[string]any
		must(t, json.Unmarshal(bytes.TrimPrefix(ours, []byte("#cloud-config\n")), &keys))
		for k := range keys {
			if !slices.Contains([]string{"hostname", "fqdn", "manage_etc_hosts", "preserve_hostname", "disable_root", "ssh_pwauth", "users", "chpasswd", "updates", "bootcmd"}, k) {
				t.Fatalf("key %q appeared", k)
			}
		}
		var d document
		must(t, yaml.Unmarshal(ours, &d))
		got := []string{d.Hostname, d.FQDN, d.Users[0].Name, d.Users[0].Keys[0]}
		want := []string{s.Hostname, s.FQDN, "root", s.SSHKeys[0]}
		if s.PasswordHash != "" {
			got, want = append(got, d.Chpasswd.Users[0].Password), append(want, s.PasswordHash)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// split takes a MIME archive apart as cloud-init does; a lone document is ours.
func split(t *rapid.T, b []byte) (ours []byte, theirs string) {
	if bytes.HasPrefix(b, []byte("#cloud-config\n")) {
		return b, ""
	}
	m, err := mail.ReadMessage(bytes.NewReader(b))
	must(t, err)
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	must(t, err)
	r := multipart.NewReader(m.Body, params["boundary"])
	var parts [][]byte
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
		must(t, err)
		parts = append(parts, body)
	}
	if len(parts) != 2 {
		t.Fatalf("%d parts", len(parts))
	}
	return parts[0], string(parts[1])
}

func TestImage(t *testing.T) {
	t.Parallel()
	f, err := seed.Render(full())
	if err != nil {
		t.Fatal(err)
	}
	a, err := seed.Image(f)
	if err != nil {
		t.Fatal(err)
	}
	// Cross a second so that a clock in the bytes would show.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	b, err := seed.Image(f)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("equal documents, different images: byte %d", i)
			}
		}
		t.Fatal("equal documents, different images")
	}
	if len(a) > 256<<10 {
		t.Errorf("image has %d bytes", len(a))
	}
	t.Logf("%d bytes", len(a))
	if label := string(bytes.TrimRight(a[16*2048+40:16*2048+72], " ")); label != "cidata" {
		t.Errorf("label %q", label)
	}
	path := filepath.Join(t.TempDir(), "seed.iso")
	if err := os.WriteFile(path, a, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := seed.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, got); diff != "" {
		t.Error(diff)
	}
	if xorriso, err := exec.LookPath("xorriso"); err == nil { // a second opinion where there is one
		out, err := exec.Command(xorriso, "-indev", path, "-find", "/", "-exec", "lsdl").CombinedOutput()
		for _, want := range []string{"'/meta-data'", "'/user-data'", "'/network-config'"} {
			if err != nil || !strings.Contains(string(out), want) {
				t.Fatalf("xorriso: %v\n%s", err, out)
			}
		}
	}
}

// TestLaterPassword: a password that came after the guest was installed is set by a command, once for each number, which
// gets the hash as an argument.
func TestLaterPassword(t *testing.T) {
	t.Parallel()
	s := full()
	s.PasswordHash, s.PasswordSerial = "$6$abcdefgh$xyz", 7
	f, err := seed.Render(s)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Early [][]string `yaml:"bootcmd"`
	}
	if err := yaml.Unmarshal(f.UserData, &doc); err != nil {
		t.Fatal(err)
	}
	want := [][]string{{
		"cloud-init-per", "once", "slipway-password-7", "sh", "-c", `printf 'root:%s\n' "$1" | chpasswd -e`, "sh", "$6$abcdefgh$xyz",
	}}
	if diff := cmp.Diff(want, doc.Early); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []int32{-1, 7} {
		s.PasswordHash, s.PasswordSerial = "", bad
		if _, err := seed.Render(s); err == nil {
			t.Errorf("the number %d of no password was taken", bad)
		}
	}
}
