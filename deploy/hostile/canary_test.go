package hostile

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway.dev/pkg/bus"
)

// secrets are the planted secrets, by kind.
type secrets struct {
	*world
	known   map[string]string
	refused strings.Builder // all answers that are errors
}

// new returns a new secret.
func (s *secrets) new(kind string) string {
	v := fmt.Sprintf("canary%02dQ%x", len(s.known), time.Now().UnixNano())
	s.known[kind] = v
	return v
}

// got records a secret that a service issued.
func (s *secrets) got(kind string, a answer, field string) string {
	s.Helper()
	v, _ := a.body[field].(string)
	if len(v) < 16 {
		s.Fatalf("%s: %d %s", kind, a.status, a.text)
	}
	if _, random, ok := strings.Cut(v, "-"); ok && len(random) >= 16 {
		s.known[kind] = random // the number before it is no secret
	} else {
		s.known[kind] = v
	}
	return v
}

func (s *secrets) send(c *client, method, path, body string, headers ...string) answer {
	s.Helper()
	a := c.send(method, path, body, headers...)
	if a.status >= 400 {
		s.refused.WriteString(a.text)
	}
	return a
}

// flow sends 25 kinds of secrets through every call that accepts one, in valid and invalid ways.
func (s *secrets) flow() {
	nobody, login := s.nobody(), "/auth/v4/public/token"
	s.known["the administrator's password"] = adminPassword
	s.known["the administrator's session"] = s.admin.token[strings.Index(s.admin.token, "-")+1:]

	first := s.new("password of a new account")
	made := s.send(s.admin, "POST", "/auth/v4/user", fmt.Sprintf(`{"email":"c@example.com","role":"@user","password":%q}`, first))
	user := fmt.Sprint(made.number("id"))
	s.send(s.admin, "POST", "/vm/v3/account", fmt.Sprintf(`{"email":"d@example.com","role":"@user","password":%q}`, s.new("password by another path")))
	s.send(s.admin, "POST", "/auth/v4/user", fmt.Sprintf(`{"email":"no mail","password":%q}`, s.new("password of a refused account")))
	session := s.got("session", s.send(nobody, "POST", login, fmt.Sprintf(`{"email":"c@example.com","password":%q}`, first)), "token")
	own := &client{world: s.world, token: session}
	s.got("long token", s.send(own, "POST", "/auth/v4/token", `{"expires_at":null}`), "token")
	s.send(nobody, "POST", login, fmt.Sprintf(`{"email":"c@example.com","password":%q}`, s.new("wrong password")))
	s.send(nobody, "POST", login, fmt.Sprintf(`{"email":"nobody@example.com","password":%q}`, s.new("password of nobody")))
	s.send(nobody, "POST", login+"?password="+s.new("password in the query"), `{"email":"c@example.com"}`)
	s.send(nobody, "GET", login+"?email=c@example.com&password="+s.new("password in a GET"), "")
	s.send(nobody, "POST", login, fmt.Sprintf(`{"email":"c@example.com","password":%q`, s.new("password in broken JSON")))
	s.send(nobody, "POST", login, fmt.Sprintf(`{"email":"c@example.com","password":{"value":%q}}`, s.new("password in an object")))
	s.send(nobody, "POST", login, fmt.Sprintf(`{"email":"c@example.com","password":[%q]}`, s.new("password in a list")))
	s.send(nobody, "POST", login, fmt.Sprintf(`{"email":"c@example.com","passwd":%q}`, s.new("password in a field that nothing reads")))
	key := s.got("one-time key", s.send(s.admin, "POST", "/auth/v4/user/"+user+"/key", "{}"), "key")
	s.got("session by key", s.send(nobody, "POST", "/auth/v4/public/key", fmt.Sprintf(`{"key":%q}`, key)), "token")
	s.send(nobody, "POST", "/auth/v4/public/key", fmt.Sprintf(`{"key":%q}`, key))
	s.send(nobody, "POST", "/auth/v4/public/key", fmt.Sprintf(`{"key":%q}`, s.new("key that is none")))
	s.send(nobody, "GET", "/vm/v3/host", "", "Authorization", "Bearer "+s.new("bearer token that is none"))
	s.send(nobody, "GET", "/vm/v3/host", "", "Cookie", "ses6="+s.new("cookie"))
	s.send(nobody, "GET", "/vm/v3/host?x-xsrf-token="+s.new("token in the query"), "", "X-Xsrf-Token", s.new("token that is none"))
	s.send(own, "DELETE", "/auth/v4/token/4-"+s.new("token in the path"), "")
	s.send(nobody, "GET", "/"+s.new("secret in a path that is none"), "", "X-Password", s.new("password in a header"))

	host := fmt.Sprintf(`{"name":"h","os":1,"hdd_mib":1,"password":%q}`, s.new("password of a host"))
	once := s.new("Idempotency-Key")
	for range 2 {
		made = s.send(own, "POST", "/vm/v3/host", host, "Idempotency-Key", once)
	}
	own.complete(made.number("task"))
	s.got("console ticket", s.send(own, "POST", fmt.Sprintf("/vm/v3/host/%d/console", made.number("id")), `{"kind":"vnc"}`), "ticket")
	s.send(own, "POST", "/vm/v3/host", fmt.Sprintf(`{"name":"h","os":99,"password":%q}`, s.new("password of a refused host")), "Idempotency-Key", once)
	s.send(own, "POST", "/auth/v4/user/"+user+"/sshkey", fmt.Sprintf(`{"name":"k","ssh_pub_key":%q}`,
		"-----BEGIN OPENSSH PRIVATE KEY-----\n"+s.new("private key")+"\n-----END OPENSSH PRIVATE KEY-----"))
	s.send(s.admin, "POST", "/auth/v4/user/"+user+"/password", fmt.Sprintf(`{"password":%q}`, s.new("new password")))
	op := s.send(s.admin, "DELETE", fmt.Sprint("/vm/v3/host/", made.number("id")), "")
	s.admin.complete(op.number("task"))
}

// places returns all text that is stored or passed on, by place.
func (s *secrets) places(events string) map[string]string {
	s.Helper()
	all := map[string]string{"the log": s.log.text(), "an error": s.refused.String(), "an event": events}
	for name, pool := range s.pools {
		rows, err := pool.Query(s.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`)
		s.must(err)
		var tables []string
		for rows.Next() {
			var t string
			s.must(rows.Scan(&t))
			tables = append(tables, t)
		}
		s.must(rows.Err())
		for _, t := range tables {
			var text string
			s.must(pool.QueryRow(s.Context(), fmt.Sprintf(`SELECT coalesce(string_agg(t::text, E'\n'), '') FROM %q t`, t)).Scan(&text))
			all["the table "+name+"."+t] = text
		}
	}
	s.must(filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all["the node's file "+filepath.Base(path)] += string(text)
		return err
	}))
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, _ := os.ReadFile(f) // a process may be gone by now
		all["the arguments of a process"] += string(text)
	}
	return all
}

// leaked lists the secrets that a place holds, in plain text, base64 or hex.
func leaked(known, places map[string]string) (found []string) {
	for kind, secret := range known {
		for where, text := range places {
			for _, form := range []string{secret, base64.RawStdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret))} {
				if strings.Contains(text, form) {
					found = append(found, kind+" is in "+where)
					break
				}
			}
		}
	}
	return found
}

func TestCanarySecrets(t *testing.T) {
	t.Parallel()
	s := &secrets{world: newStack(t), known: map[string]string{}}
	s.addresses()
	var mu sync.Mutex
	var events strings.Builder
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	ready := make(chan struct{})
	all.Go(func() {
		s.must(s.bus.Watch(ctx, []string{"auth.v4.>", "vm.v3.>", "ip.v3.>"}, func(e bus.Event) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(&events, "%s %s\n", e.Subject, e.Data)
		}, sync.OnceFunc(func() { close(ready) })))
	})
	<-ready
	s.flow()
	gone := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(events.String(), "vm.v3.host.deleted")
	}
	for deadline := time.Now().Add(2 * time.Minute); !gone() && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
	}
	stop()
	all.Wait()
	if len(s.known) < 25 || !gone() || !strings.Contains(s.refused.String(), "90001") || len(s.log.text()) < 10_000 {
		t.Fatalf("%d secrets, %d bytes of errors, %d of log: too little went through", len(s.known), s.refused.Len(), len(s.log.text()))
	}
	places := s.places(events.String())
	for _, f := range leaked(s.known, places) {
		t.Error(f)
	}
	// Planted leaks, which the check must detect.
	for where, form := range map[string]string{
		"plain": adminPassword, "base64": base64.StdEncoding.EncodeToString([]byte(adminPassword)), "hex": `\x` + hex.EncodeToString([]byte(adminPassword)),
	} {
		if len(leaked(s.known, map[string]string{where: "a " + form + " b"})) == 0 {
			t.Errorf("a secret in %s is not seen", where)
		}
	}
}
