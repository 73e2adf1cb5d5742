//go:build e2e && !remote

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
)

// estate is a stack with so many hosts that exist in the database alone.
func estate(t *testing.T, hosts int) *stack {
	t.Helper()
	s := newStack(t, "sim", "SLIPWAY_VM_WATCH_EVERY=24h", "SLIPWAY_LOG=warn")
	s.damaged = true // no node has the machines of an estate
	s.stop()
	fill := func() error {
		out, err := exec.Command(program(t), "bench", "seed", "--data", s.data, "--hosts", fmt.Sprint(hosts)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := fill(); err != nil {
		t.Fatal(err)
	}
	if err := fill(); err == nil || !strings.Contains(err.Error(), "fresh") {
		t.Errorf("a database that is in use was filled: %v", err)
	}
	s.start()
	return s
}

// lists are the paths of all lists, as the API describes itself.
func (c *client) lists() []string {
	c.s.t.Helper()
	var doc struct {
		Paths map[string]map[string]struct{ Parameters []map[string]any }
	}
	_, text := c.raw("GET", "/openapi.json", nil)
	if err := json.Unmarshal(text, &doc); err != nil {
		c.s.t.Fatal(err)
	}
	var all []string
	for path, methods := range doc.Paths {
		for _, p := range methods["get"].Parameters {
			if p["$ref"] == "#/components/parameters/where" {
				all = append(all, strings.NewReplacer("{id}", "1", "{account}", "2").Replace(path))
			}
		}
	}
	if len(all) < 15 {
		c.s.t.Fatalf("lists: %q", all)
	}
	return all
}

// export reads a list as lines.
func (c *client) export(path string) []object {
	c.s.t.Helper()
	req, err := http.NewRequestWithContext(c.s.t.Context(), http.MethodGet, c.s.url+path, http.NoBody)
	if err != nil {
		c.s.t.Fatal(err)
	}
	req.Header.Set("x-xsrf-token", c.token)
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []object
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o object
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			c.s.t.Fatalf("%s: %v: %s", path, err, lines.Text())
		}
		all = append(all, o)
	}
	if err := lines.Err(); err != nil {
		c.s.t.Fatal(err)
	}
	return all
}

// TestEstate reads the lists of an estate in every way that there is, and sends 10,000 hostile queries to all of them.
func TestEstate(t *testing.T) {
	const hosts = 3000
	s := estate(t, hosts)
	c := s.login()
	lists := c.lists()
	for _, path := range lists {
		l := c.must("GET", path+"?limit=7", nil)
		lines := c.export(path)
		if _, counted := l["size"]; !counted || len(lines) != number(l, "size") {
			t.Errorf("%s: %d lines of %v", path, len(lines), l["size"])
		}
		if e := c.must("GET", path+"?explain=1", nil)["explain"]; e == nil || e.(object)["page"] == nil {
			t.Errorf("%s: explained as %v", path, e)
		}
	}
	for where, want := range map[string]int{
		"":                                 hosts,
		"id+EQ+77":                         1,
		"name+CP+'%25-000077.example'":     1,
		"ip4+EQ+'100.64.0.78'":             1,
		"ip4+CP+'100.64.%25'":              hosts,
		"NOT+ip6+IS+null":                  hosts / 5,
		"disk_count+EQ+2":                  hosts / 10,
		"account.email+CP+'%25@%25'":       hosts,
		"id+GT+99999999999":                0,
		"node.maintenance_mode+EQ+false":   0,
		"cluster.name+CP+'CLUSTER-%25'":    hosts,
		"create_date+GT+'2000-01-01'":      hosts,
		"state+EQ+'no'+OR+id+LE+10":        10,
		"internal_name+EQ+'no+such+thing'": 0,
	} {
		if n := number(c.must("GET", "/vm/v3/host?limit=1&where="+where, nil), "size"); n != want {
			t.Errorf("%s: %d hosts, want %d", where, n, want)
		}
	}
	// Numbers by counter are those by counting: "id GT 0" is what no counter knows.
	for _, state := range []string{"active", "stopped", "paused", "crashed"} {
		fast := number(c.must("GET", "/vm/v3/host?limit=1&where=state+EQ+"+state, nil), "size")
		slow := number(c.must("GET", "/vm/v3/host?limit=1&where=id+GT+0+AND+state+EQ+"+state, nil), "size")
		if fast != slow || fast == 0 {
			t.Errorf("%s: %d by counter, %d counted", state, fast, slow)
		}
	}
	user := s.user(c)
	if l := user.list("/vm/v3/host"); len(l) != 0 {
		t.Errorf("a new user sees %v", l)
	}
	if status, body := user.do("GET", "/vm/v3/host?explain=1", nil); status != 403 {
		t.Errorf("explained to a user: %d %v", status, body)
	}
	hostile(t, []*client{c, user}, lists)
}

// user is a client of a new account without rights.
func (s *stack) user(admin *client) *client {
	s.t.Helper()
	u := &client{s: s}
	who := object{"email": "mallory@example.com", "password": "mallory-Pass-1"}
	admin.must("POST", "/auth/v4/user", who)
	_, body := u.do("POST", "/auth/v4/public/token", who)
	u.token, _ = body["token"].(string)
	return u
}

var pieces = strings.Fields(`id name state account.id cluster.name ip4 email roles status host owner password_hash hash secret j.id h.account_id
	account_id EQ NE GT GE LT LE CP IS null NOT AND OR ( ) (( )) ' '' '%' '%a%' 'x' '1' 1 0 -1 9223372036854775808 1e9 ; -- /* */ $1 $2::text \ \' " UNION SELECT
	pg_sleep(9) 0x41 é 💣 'a 2026-01-01 '2026-99-99' 10.0.0.1 '10.%' ::1 true false , . .. id. .id ` + "`")

var controls = []string{"\x00", "\xff", "\n", "\t", "\x1f", "\u2028", "%", "%%", "%00", "%ff", "'%ad"}

func nonsense(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(12) {
		if r.IntN(20) == 0 {
			b.WriteString(controls[r.IntN(len(controls))])
		}
		b.WriteString(pieces[r.IntN(len(pieces))] + " ")
	}
	switch r.IntN(200) {
	case 0:
		return strings.Repeat("(", 5000) + b.String()
	case 1:
		return strings.Repeat("id EQ 1 OR ", 900) + "id EQ 1"
	case 2:
		return "name CP '" + strings.Repeat("%a", 3000) + "'"
	case 3:
		return strings.Repeat("NOT ", 31) + "id EQ 1"
	}
	return b.String()
}

// plausible is a filter that may well be sound, with values of all kinds.
func plausible(r *rand.Rand) string {
	text := ""
	for i := range 1 + r.IntN(4) {
		if i > 0 {
			text += []string{" AND ", " OR ", " AND NOT "}[r.IntN(3)]
		}
		text += pieces[r.IntN(8)] + " " + strings.Fields("EQ NE GT GE LT LE CP")[r.IntN(7)] + " '" +
			strings.ReplaceAll(pieces[r.IntN(len(pieces))], "'", "''") + "'"
	}
	return text
}

// hostile sends what no client should. Every answer is a list or a refusal in the shape of the dialect, and tells no SQL.
func hostile(t *testing.T, clients []*client, lists []string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same at every run
	answers := map[int]int{}
	for range 10_000 {
		q := url.Values{}
		for _, name := range []string{"where", "orderby", "limit", "cursor", "fields", "explain"} {
			if r.IntN(5) == 0 {
				q.Set(name, nonsense(r))
			}
		}
		if r.IntN(2) == 0 {
			q.Set("where", plausible(r))
		}
		path := lists[r.IntN(len(lists))] + "?" + q.Encode()
		resp, text := clients[r.IntN(len(clients))].raw("GET", path, nil)
		answers[resp.StatusCode]++
		if resp.StatusCode >= 500 || !json.Valid(text) || bytes.Contains(text, []byte("SQLSTATE")) || bytes.Contains(text, []byte("syntax error")) {
			t.Errorf("%s: %d %.300s", path, resp.StatusCode, text)
		}
	}
	if answers[200] < 100 || answers[400] < 1000 {
		t.Errorf("answers %v", answers)
	}
	t.Logf("answers %v", answers)
}
