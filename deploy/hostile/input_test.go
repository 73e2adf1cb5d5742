package hostile

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// leaks are words that no answer may hold, because they come from the database, the code or the machine.
var leaks = regexp.MustCompile(`(?i)SQLSTATE|pgx|pgconn|goroutine|panic|\.go:|/tmp/|syntax error at|relation "|column "|violates|` +
	`rpc error|invalid memory|slipway\.dev|stack trace|proto:`)

// wrong returns what is wrong with an answer to hostile input, "" for nothing.
func wrong(a answer) string {
	switch {
	case a.status == http.StatusServiceUnavailable && a.shaped:
		return "" // the hashing of passwords is bounded: nothing was done, says 503
	case a.status >= 500:
		return "the fault is ours"
	case a.status >= 400 && !a.shaped:
		return "an error in another shape"
	case a.status >= 400 && leaks.MatchString(a.text):
		return "it says too much"
	case a.status < 400 && a.body == nil && !strings.HasPrefix(a.text, "slipway-guest"):
		return "no JSON object"
	}
	return ""
}

// persona sends requests. It logs in again when its session has ended, because some calls end it.
type persona struct {
	s               *world
	email, password string

	mu sync.Mutex
	c  *client
}

func (p *persona) send(method, path, body string) answer {
	p.mu.Lock()
	c := p.c
	p.mu.Unlock()
	a := c.send(method, path, body)
	if a.status != http.StatusUnauthorized || p.email == "" {
		return a
	}
	p.mu.Lock()
	if p.c == c {
		p.c = p.s.login(p.email, p.password)
	}
	c = p.c
	p.mu.Unlock()
	return c.send(method, path, body)
}

// personas send requests in turn. Their rights differ; hostile input must be handled the same for all.
func (s *world) personas() map[string]*persona {
	all := map[string]*persona{"nobody": {s: s, c: s.nobody()}}
	for who, role := range map[string]string{"user": "@user", "boss": "@admin"} {
		p := &persona{s: s, email: who + "@example.com", password: "canary-" + who}
		_, p.c = s.account(p.email, role, p.password)
		all[who] = p
	}
	return all
}

// targets are the objects that the paths of routes name: they may be spoilt.
func (s *world) targets() map[string]string {
	s.Helper()
	network, pool, part := s.addresses()
	host := s.admin.ok("POST", "/vm/v3/host", `{"name":"target","os":1,"password":"x","hdd_mib":1}`)
	victim := s.admin.ok("POST", "/auth/v4/user", `{"email":"victim@example.com","role":"@user","password":"victim-password"}`)
	s.admin.complete(host.number("task"))
	id := func(n int) string { return fmt.Sprint(n) }
	return map[string]string{
		"host": id(host.number("id")), "task": id(host.number("task")), "ipnet": id(network), "ippool": id(pool), "range": id(part),
		"user": id(victim.number("id")), "account": id(victim.number("id")), "node": "1", "cluster": "1", "os": "1", "setting": "token_ttl",
		"settings/task": "os_import",
	}
}

// TestHostileInput sends every route every hostile value in every field, as several personas. No answer may be an
// internal error or reveal internals.
func TestHostileInput(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	targets, personas := s.targets(), s.personas()
	s.more(targets)
	var sent, inside atomic.Int64
	check := func(who string, r route, method, path, body string) {
		a := personas[who].send(method, path, body)
		sent.Add(1)
		if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			inside.Add(1)
		}
		if problem := wrong(a); problem != "" {
			t.Errorf("%s: %s %s as %s with %.200s: %d %.300s", problem, r.method, path[:min(len(path), 200)], who, body, a.status, a.text)
		}
	}
	var all sync.WaitGroup
	abreast := make(chan struct{}, 8)
	for _, r := range routes() {
		abreast <- struct{}{}
		all.Go(func() {
			defer func() { <-abreast }()
			for who := range personas {
				hostilePaths(r, func(path string) { check(who, r, r.method, path, "{}") })
			}
			// A request is parsed only after the check of access, so a caller without an account and a user send
			// their values to their own routes.
			for _, who := range insiders(r) {
				target := r.with(func(string) string { return targets[r.noun()] })
				if strings.Contains(target, "//") || strings.HasSuffix(target, "/") || r.method == http.MethodDelete {
					target = r.with(func(string) string { return "999999" })
				}
				hostileRequests(r, target, func(path, body string) { check(who, r, r.method, path, body) })
			}
		})
	}
	all.Wait()
	if n, in := sent.Load(), inside.Load(); n < 12_000 || in < n*8/10 {
		t.Errorf("%d requests were sent, %d of them came in", n, in)
	} else {
		t.Logf("%d requests, %d of them came in", n, in)
	}
	s.admin.ok("GET", "/vm/v3/host/"+targets["host"], "")
}

func insiders(r route) []string {
	switch r.access.GetLevel() {
	case levelPublic:
		return []string{"nobody"}
	case levelUser:
		return []string{"user", "boss"}
	default:
		return []string{"boss"}
	}
}

// hostilePaths replaces the path's variables by hostile ids.
func hostilePaths(r route, send func(path string)) {
	if len(r.params()) == 0 {
		send(r.path)
		return
	}
	for _, id := range ids {
		send(r.with(func(string) string { return id }))
	}
}

func hostileRequests(r route, path string, send func(path, body string)) {
	if !r.body {
		if r.lists() {
			for _, q := range queries {
				send(path+"?"+q, "")
			}
		}
		for _, fd := range r.fields() {
			for _, id := range ids {
				send(path+"?"+string(fd.Name())+"="+id, "")
			}
		}
		return
	}
	for _, b := range bodies {
		send(path, b)
	}
	for _, fd := range r.fields() {
		for _, v := range values(fd) {
			send(path, `{`+fmt.Sprintf("%q:%s", fd.Name(), v)+rest(r, fd)+`}`)
		}
	}
}

// rest returns the other fields that the body needs for the field to be checked.
func rest(r route, but protoreflect.FieldDescriptor) (text string) {
	for _, need := range needs[string(r.rpc.Name())] {
		if name, _, _ := strings.Cut(need, ":"); name != fmt.Sprintf("%q", but.Name()) {
			text += "," + need
		}
	}
	return text
}

var needs = map[string][]string{
	"CreateHost":          {`"name":"x"`, `"os":99`, `"password":"x"`},
	"CreateUser":          {`"email":"e@example.com"`, `"role":"@nothing"`, `"password":"xxxxxxxx"`},
	"CreatePool":          {`"name":"p"`},
	"AddRange":            {`"name":"192.0.2.1"`},
	"BindPool":            {`"clusters":[{"id":1,"interface":0}]`},
	"AddSSHKey":           {`"name":"k"`, `"ssh_pub_key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBnkVpSAl7ROV0kHzHfIhcfyqFUiVG6n4ZLEsF0+k1uw"`},
	"CreateToken":         {`"expires_at":"2030-01-01 00:00:00"`},
	"ReinstallHost":       {`"os":99`},
	"ChangeHostResources": {`"cpu_number":2`},
	"SetHostPassword":     {`"password":"x"`},
	"SetRescueMode":       {`"rescue_mode":true`},
	"SetTaskTimeout":      {`"timeout_seconds":60`},
	"AddHostPTR":          {`"name":"192.0.2.1"`, `"domain":"a.example.com"`},
	"SetHostPTR":          {`"domain":"a.example.com"`},
	"ChangeDisk":          {`"name":"x"`},
	"CreateDisk":          {`"name":"data"`, `"size_mib":64`, `"node":99`},
	"OrderDisks":          {`"disks":[{"id":1,"boot_order":1}]`},
	"MountISO":            {`"url":"https://mirror.example/a.iso"`},
}
