package seed

import (
	"reflect"
	"strings"
	"testing"
)

func TestPassword(t *testing.T) {
	t.Parallel()
	text, hash, locked := Password{Text: "se:cret"}, Password{Hash: aHash}, Password{Locked: true}
	for _, tt := range []struct {
		user string
		want Password
		err  string
	}{
		{"password: se:cret", text, ""},
		{"password: 1234", Password{Text: "1234"}, ""},
		{"password: " + aHash, hash, ""},
		{"chpasswd: {list: 'root:se:cret'}", text, ""},
		{"chpasswd:\n  list: |\n    root:se:cret\n", text, ""},
		{"chpasswd: {list: ['root:" + aHash + "']}", hash, ""},
		{"chpasswd: {list: ['admin:x']}", Password{}, "not for root"},
		{"chpasswd: {list: nonsense}", Password{}, "not for root"},
		{"chpasswd: {users: [{name: root, password: 'se:cret', type: text}]}", text, ""},
		{"chpasswd: {users: [{name: root, password: '" + aHash + "', type: hash}]}", hash, ""},
		{"chpasswd: {users: [{name: root, password: 'se:cret'}]}", Password{}, "not a crypt hash"},
		{"chpasswd: {users: [{name: root, type: RANDOM, password: a}]}", Password{}, "not supported"},
		{"chpasswd: {users: [{name: root, type: text}]}", Password{}, "empty password"},
		{"chpasswd: {users: [{name: bob, type: text, password: a}]}", Password{}, "root is the only user"},
		{"users: [default, {name: root, hashed_passwd: '" + aHash + "'}]", hash, ""},
		{"users: [{name: root, plain_text_passwd: 'se:cret', lock_passwd: false}]", text, ""},
		{"users: [{name: root, hashed_passwd: '" + aHash + "', lock_passwd: true}]", locked, ""},
		{"users: [{name: root, lock_passwd: true}]\npassword: se:cret", text, ""},
		{"users: [{name: bob}]", Password{}, "root is the only user"},
		{"users: [[]]", Password{}, "wrong type"},
		{"x: &r {name: root, plain_text_passwd: 'se:cret'}\nusers: [*r]", text, ""},
		// Each would write a second field or line of /etc/shadow.
		{`chpasswd: {users: [{name: root, type: hash, password: "$6$saltsalt$abcdefgh\nevil::0"}]}`, Password{}, "not a crypt hash"},
		{`chpasswd: {users: [{name: root, type: hash, password: "$6$saltsalt$abcdefgh:0:0"}]}`, Password{}, "not a crypt hash"},
		{`chpasswd: {users: [{name: root, type: text, password: "a\nb"}]}`, Password{}, "control characters"},
		{`password: "a\0b"`, Password{}, "control characters"},
	} {
		s, errs := parse("", "#cloud-config\n"+tt.user, "version: 2")
		if s.Password != tt.want {
			t.Errorf("%s: %+v", tt.user, s.Password)
		}
		if tt.err == "" {
			check(t, errs)
		} else {
			check(t, errs, tt.err)
		}
	}
}

func TestUserData(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, user string
		want       Seed
		errs       []string
	}{
		{"empty", "", Seed{}, nil},
		{"only the header", "#cloud-config", Seed{}, nil},
		{"json", `{"hostname": "a", "ssh_pwauth": false}`, Seed{Hostname: "a", NoPassword: true}, nil},
		{"json after the header", "#cloud-config\n{\"hostname\": \"a\"}", Seed{Hostname: "a"}, nil},
		{"windows line ends", "#cloud-config\r\nhostname: a\r\n", Seed{Hostname: "a"}, nil},
		{"a script", "#!/bin/sh\nid", Seed{}, []string{"neither #cloud-config nor JSON"}},
		{"garbage", "#cloud-config\n\t{[", Seed{}, []string{"not YAML"}},
		{"broken json", `{"hostname": "a"`, Seed{}, []string{"not YAML"}},
		{"duplicate key", "#cloud-config\nhostname: a\nhostname: b", Seed{}, []string{"line 3: not as expected"}},
		{"words", "#cloud-config\nssh_pwauth: unchanged\nmanage_etc_hosts: localhost", Seed{}, nil},
		{"own hosts file", "#cloud-config\nmanage_etc_hosts: false", Seed{KeepHosts: true}, nil},
		{
			"one wrong value does not spoil the others", "#cloud-config\nssh_pwauth: {}\nusers: 7\nhostname: a",
			Seed{Hostname: "a"},
			[]string{"line 2: wrong type", "line 3: wrong type"},
		},
		{
			"keys", "#cloud-config\nssh_authorized_keys:\n- " + aKey + "\nusers:\n- {name: root, ssh_authorized_keys: '" + aKey + "'}",
			Seed{Keys: []string{aKey, aKey}},
			nil,
		},
		{
			"bad keys", "#cloud-config\nssh_authorized_keys: [ssh-rsa, 'command=\"x\" " + aKey + "', 'ssh-rsa AAAAC3Nz', \"" + aKey + "\\nx\"]",
			Seed{},
			[]string{"no public key", "no public key", "no public key", "control character"},
		},
		{
			"bad commands", "#cloud-config\nruncmd: [{a: b}, [], '', [[a]], \"a\\0b\", ok]",
			Seed{Commands: [][]string{{"sh", "-c", "ok"}}},
			[]string{"line 2", "line 2", "line 2", "line 2", "zero byte"},
		},
		{
			"bad files", `#cloud-config
write_files:
- {content: a}
- {path: relative}
- {path: /a/../etc/shadow}
- {path: "/a\nb"}
- {path: /a, permissions: "rw"}
- {path: /a, permissions: "4755"}
- {path: /a, encoding: gz}
- {path: /a, encoding: b64, content: "%"}
`,
			Seed{},
			[]string{"path", "path", "path", "path", "not octal", "not octal", "not supported", "not base64"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, errs := parse("", tt.user, "version: 2")
			check(t, errs, tt.errs...)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	for _, user := range []string{
		"chpasswd: hunter22",
		"ssh_pwauth: [hunter22]",
		"users: hunter22",
		"password: {hunter22: hunter22}",
		"password: *hunter22",
		"users: [{name: root, ssh_authorized_keys: {hunter22: a}}]",
		"chpasswd: {list: ['hunter22']}",
		"chpasswd: {users: [{name: root, type: hash, password: hunter22}]}",
	} {
		_, errs := parse("", "#cloud-config\n"+user, "version: 2")
		if len(errs) == 0 {
			t.Errorf("%s: no error", user)
		}
		for _, err := range errs {
			if strings.Contains(err.Error(), "hunter") {
				t.Errorf("%s: %v", user, err)
			}
		}
	}
}
