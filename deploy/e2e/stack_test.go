//go:build e2e

// Package e2e drives a whole stack from outside, over HTTP, as clients do. `make test` runs it; it starts what it needs.
// With the tag remote all that needs nothing but HTTP runs against the stack at SLIPWAY_E2E_URL; what stays behind kills
// the process, damages its files, or needs two stacks or one with settings of its own.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	adminEmail    = "admin@example.com"
	adminPassword = "e2e-Password-1"
)

// stack is a slipway process of the test's own, or with nothing but its URL one that runs elsewhere.
type stack struct {
	t        *testing.T
	url      string
	email    string
	password string
	answered answered
	process
}

// object is a JSON object.
type object = map[string]any

// client makes requests with one token.
type client struct {
	s     *stack
	token string
}

// login is a client of the administrator.
func (s *stack) login() *client {
	s.t.Helper()
	c := &client{s: s}
	status, body := c.do("POST", "/auth/v4/public/token", object{"email": s.email, "password": s.password})
	if status != 201 {
		s.t.Fatalf("login: %d %v", status, body)
	}
	c.token = body["token"].(string)
	return c
}

// raw makes a request and returns what came.
func (c *client) raw(method, path string, body any) (*http.Response, []byte) {
	c.s.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case io.Reader:
		r = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.s.t.Fatal(err)
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(c.s.t.Context()), method, c.s.url+path, r) // cleanups ask too
	if err != nil {
		c.s.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("x-xsrf-token", c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.s.t.Fatal(err)
	}
	c.s.shaped(method, path, resp, text)
	return resp, text
}

// do makes a request and decodes the answer.
func (c *client) do(method, path string, body any) (int, object) {
	c.s.t.Helper()
	resp, text := c.raw(method, path, body)
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		c.s.t.Fatalf("%s %s answered %d with %.300s: %v", method, path, resp.StatusCode, text, err)
	}
	return resp.StatusCode, o
}

// must is do for what has to succeed. Nothing successful may hold the word "error" in quotes: clients look for it.
func (c *client) must(method, path string, body any) object {
	c.s.t.Helper()
	resp, text := c.raw(method, path, body)
	var o object
	if err := json.Unmarshal(text, &o); err != nil || resp.StatusCode != 200 || bytes.Contains(text, []byte(`"error"`)) {
		c.s.t.Fatalf("%s %s: %d %.500s", method, path, resp.StatusCode, text)
	}
	return o
}

// still returns the text of a list without the time that hosts are up, which goes on between two requests.
func still(list any) string {
	return regexp.MustCompile(`\buptime:[0-9e.+]+`).ReplaceAllString(fmt.Sprint(list), "uptime")
}

// list is must for a list, with and without the prefix /api.
func (c *client) list(path string) []object {
	c.s.t.Helper()
	a, b := c.must("GET", path, nil), c.must("GET", "/api"+path, nil)
	if x, y := still(a["list"]), still(b["list"]); x != y {
		c.s.t.Errorf("%s differs under /api: %s and %s", path, x, y)
	}
	items, ok := a["list"].([]any)
	if !ok {
		c.s.t.Fatalf("%s has no list: %v", path, a)
	}
	if _, ok := a["size"].(float64); !ok {
		c.s.t.Errorf("%s has no size: %v", path, a)
	}
	list := make([]object, len(items))
	for i, x := range items {
		list[i] = x.(object)
	}
	return list
}

// freeNetwork returns the first three numbers of a network of 256 addresses that nothing on the stack has.
func (c *client) freeNetwork() string {
	c.s.t.Helper()
	for n := range 256 {
		prefix := fmt.Sprintf("198.19.%d", n)
		if len(c.list(fmt.Sprintf("/ip/v3/ipnet?where=name+CP+%%27%s.0/24%%27", prefix))) == 0 {
			return prefix
		}
	}
	c.s.t.Fatal("no network is free")
	return ""
}

// unique is an e-mail that no other run on the same stack has used.
func unique(name string) string {
	return fmt.Sprintf("%s%x@example.com", name, time.Now().UnixNano())
}

func number(o object, key string) int {
	n, _ := o[key].(float64)
	return int(n)
}

// task is a task as the list shows it.
func (c *client) task(id int) object {
	c.s.t.Helper()
	l := c.must("GET", fmt.Sprintf("/vm/v3/task?where=consul_id+EQ+%d", id), nil)["list"].([]any)
	if len(l) != 1 {
		c.s.t.Fatalf("task %d: %v", id, l)
	}
	return l[0].(object)
}

// finish waits for the end of a task.
func (c *client) finish(id int, within time.Duration) object {
	c.s.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		t := c.task(id)
		switch t["status"] {
		case "complete", "failed", "canceled":
			return t
		}
		if time.Now().After(deadline) {
			c.s.t.Fatalf("task %d does not end: %v %v", id, t, c.must("GET", fmt.Sprintf("/vm/v3/task/%d", id), nil))
		}
	}
}

// complete waits for a task that has to succeed.
func (c *client) complete(answer object) {
	c.s.t.Helper()
	if t := c.finish(number(answer, "task"), 90*time.Second); t["status"] != "complete" {
		c.s.t.Fatalf("task: %v", t)
	}
}

func (c *client) host(id int) object {
	c.s.t.Helper()
	return c.must("GET", fmt.Sprintf("/vm/v3/host/%d", id), nil)
}

// console waits until the host's console says what.
func (c *client) console(id int, what string) string {
	c.s.t.Helper()
	path := fmt.Sprintf("/vm/v3/host/%d/console", id)
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		resp, text := c.raw("GET", path, nil)
		if resp.StatusCode == 200 && bytes.Contains(text, []byte(what)) {
			return string(text)
		}
		if time.Now().After(deadline) {
			c.s.t.Fatalf("the console does not say %q: %d\n%s", what, resp.StatusCode, text)
		}
	}
}

// tiny is the id of the OS template that the build makes.
func (c *client) tiny() int {
	c.s.t.Helper()
	l := c.list("/vm/v3/os?where=(name+EQ+'tiny')")
	if len(l) != 1 {
		c.s.t.Fatalf("OS templates: %v", l)
	}
	return number(l[0], "id")
}
