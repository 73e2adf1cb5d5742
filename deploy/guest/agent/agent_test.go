package agent_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"slipway.dev/deploy/guest/agent"
)

type fake struct{ set []string }

func (f *fake) SetPassword(user, password string, crypted bool) error {
	if user != "root" {
		return errors.New("no such user")
	}
	f.set = append(f.set, map[bool]string{true: "hash ", false: "text "}[crypted]+password)
	return nil
}

func (*fake) Interfaces() ([]agent.Interface, error) {
	return []agent.Interface{{Name: "eth0", MAC: "52:54:00:00:00:01", Addresses: []agent.Address{{Type: "ipv4", IP: "192.0.2.4", Prefix: 24}}}}, nil
}

type port struct {
	io.Reader
	io.Writer
}

// TestServe: each command has its answer, and what is no command does not end the agent.
func TestServe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, out string }{
		{"{\"execute\":\"guest-ping\"}\n", "{\"return\":{}}\n"},
		{"{\"execute\":\"guest-sync\",\"arguments\":{\"id\":12345678901234}}\n", "{\"return\":12345678901234}\n"},
		{"garbage\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":7}}\n", "\xff{\"return\":7}\n"},
		{"\n \n", ""},
		{"{\"execute\":\"guest-exec\"}\n", "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"the command is not known\"}}\n"},
		{"{\"execute\":\"guest-network-get-interfaces\"}\n", `{"return":[{"name":"eth0","hardware-address":"52:54:00:00:00:01",` +
			`"ip-addresses":[{"ip-address-type":"ipv4","ip-address":"192.0.2.4","prefix":24}]}]}` + "\n"},
		{"{\"execute\":\"guest-set-user-password\",\"arguments\":{\"username\":\"root\",\"password\":\"JDYkYQ==\",\"crypted\":true}}\n", "{\"return\":{}}\n"},
	} {
		var out bytes.Buffer
		f := &fake{}
		if err := agent.Serve(port{strings.NewReader(tt.in + "{\"execute\":\"guest-ping\"}\n"), &out}, f); !errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", tt.in, err)
		}
		if want := tt.out + "{\"return\":{}}\n"; out.String() != want {
			t.Errorf("%q: %q, want %q", tt.in, out.String(), want)
		}
		if strings.Contains(tt.in, "password") && (len(f.set) != 1 || f.set[0] != "hash $6$a") {
			t.Errorf("set %q", f.set)
		}
	}
	for _, in := range []string{
		"{", "[]", strings.Repeat("x", 200<<10), `{"execute":"guest-set-user-password","arguments":{"username":"root","password":"?"}}`,
		`{"execute":"guest-set-user-password","arguments":{"username":"other","password":"YQ=="}}`, `{"execute":"guest-sync"}`,
	} {
		var out bytes.Buffer
		f := &fake{}
		_ = agent.Serve(port{strings.NewReader(in + "\n{\"execute\":\"guest-ping\"}\n"), &out}, f)
		if n := strings.Count(out.String(), `"error"`); n != 1 || !strings.HasSuffix(out.String(), "{\"return\":{}}\n") || len(f.set) != 0 {
			t.Errorf("%.80q: %q", in, out.String())
		}
	}
}
