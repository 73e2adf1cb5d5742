//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// lists are the paths of all lists, as the API describes itself: those of a host of this id, of the first of other things.
func (c *client) lists(host int) []string {
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
				path = strings.Replace(path, "/host/{id}", fmt.Sprintf("/host/%d", host), 1)
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

// TestLists reads every list in every way that there is, and sends hostile queries to all of them.
func TestLists(t *testing.T) {
	s := anyStack(t)
	c := s.login()
	user := s.user(c) // some lists are of the second account
	made := c.must("POST", "/vm/v3/host", object{"name": "listed", "os": c.tiny(), "password": "x"})
	c.complete(made)
	lists := c.lists(number(made, "id"))
	c.readable(lists)
	hostile(t, 1000, []*client{c, user}, lists)
}

// readable reads every list as a page, as lines and explained.
func (c *client) readable(lists []string) {
	c.s.t.Helper()
	for _, path := range lists {
		l := c.must("GET", path+"?limit=7", nil)
		lines := c.export(path)
		if _, counted := l["size"]; !counted || len(lines) != number(l, "size") {
			c.s.t.Errorf("%s: %d lines of %v", path, len(lines), l["size"])
		}
		if e := c.must("GET", path+"?explain=1", nil)["explain"]; e == nil || e.(object)["page"] == nil {
			c.s.t.Errorf("%s: explained as %v", path, e)
		}
	}
}

// user is a client of a new account without rights.
func (s *stack) user(admin *client) *client {
	s.t.Helper()
	u := &client{s: s}
	who := object{"email": unique("mallory"), "password": "mallory-Pass-1"}
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

// hostile sends invalid queries. Every answer is a list or a refusal in the shape of the dialect, without SQL.
func hostile(t *testing.T, queries int, clients []*client, lists []string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2)) // the same at every run
	answers := map[int]int{}
	for range queries {
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
	if answers[200] < queries/100 || answers[400] < queries/10 {
		t.Errorf("answers %v", answers)
	}
	t.Logf("answers %v", answers)
}
