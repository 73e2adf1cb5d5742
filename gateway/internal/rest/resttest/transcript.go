// Package resttest replays transcripts of a dialect against services that answer by script, so that a transcript
// shows the request of a client, the rpc that it leads to, and the exact reply. No service has to run, and no fake is
// needed.
//
//	> GET /vm/v3/host/21               the request: first line, headers, an empty line, the body
//	> x-xsrf-token: user
//	= vm.v3.HostService/GetHost id:21  an rpc that is expected, with its request
//	=   id:21 name:"vm-21"             its answer; or, for a fault:
//	=   ! NotFound NOT_FOUND no host 21
//	< 200                              the reply
package resttest

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/gateway/internal/rest"
)

var update = flag.Bool("update", false, "rewrite the replies in testdata")

// shown are the headers of a reply that a transcript records.
var shown = []string{"Content-Type", "Allow", "Retry-After", "Location", "Www-Authenticate"}

// exchange is one request of a transcript with its calls and its reply, or one line of comment.
type exchange struct {
	comment               string
	request, calls, reply []string
}

// Run replays the transcripts in dir. handler returns the handler under test for connections to the services. tokens
// are the accounts of the tokens that auth knows.
func Run(t *testing.T, dir string, tokens map[string]int32, handler func(*testing.T, rest.Conns) http.Handler) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{tokens: tokens}
			h := handler(t, rest.Conns{"auth": s, "vm": s, "ip": s})
			got := replay(t, h, s, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compare(t, string(text), got)
		})
	}
}

func compare(t *testing.T, text, got string) {
	t.Helper()
	was, is := strings.Split(text, "\n"), strings.Split(got, "\n")
	for i := range max(len(was), len(is)) {
		if i >= len(was) || i >= len(is) || was[i] != is[i] {
			t.Fatalf("line %d differs (run with -update and read the diff):\n%s", i+1, strings.Join(is[max(0, i-5):min(len(is), i+3)], "\n"))
		}
	}
}

// parse reads the exchanges of a transcript.
func parse(text string) []*exchange {
	var list []*exchange
	var e *exchange // under way
	for line := range strings.SplitSeq(text, "\n") {
		rest := strings.TrimPrefix(line[min(1, len(line)):], " ")
		switch {
		case strings.HasPrefix(line, ">"):
			if e == nil || len(e.calls)+len(e.reply) > 0 {
				e = &exchange{}
				list = append(list, e)
			}
			e.request = append(e.request, rest)
		case strings.HasPrefix(line, "=") && e != nil:
			e.calls = append(e.calls, rest)
		case strings.HasPrefix(line, "<") && e != nil:
			e.reply = append(e.reply, rest)
		default:
			e = nil
			list = append(list, &exchange{comment: line})
		}
	}
	return list
}

// replay answers every request of a transcript and puts the replies where the old ones were.
func replay(t *testing.T, h http.Handler, s *script, text string) string {
	t.Helper()
	var out []string
	for _, e := range parse(text) {
		if e.request == nil {
			out = append(out, e.comment)
			continue
		}
		out = append(out, marked(">", e.request)...)
		out = append(out, marked("=", e.calls)...)
		if err := s.expect(e.calls); err != nil {
			t.Fatalf("%s: %v", e.request[0], err)
		}
		reply := show(Send(t, h, e.request...))
		if err := s.done(); err != nil {
			t.Errorf("%s: %v", e.request[0], err)
		}
		out = append(out, marked("<", strings.Split(reply, "\n"))...)
	}
	return strings.Join(out, "\n")
}

func marked(mark string, lines []string) []string {
	var out []string
	for _, l := range lines {
		out = append(out, strings.TrimRight(mark+" "+l, " "))
	}
	return out
}

func show(rec *httptest.ResponseRecorder) string {
	var b strings.Builder
	fmt.Fprintln(&b, rec.Code)
	for _, name := range shown {
		if v := rec.Header().Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	b.WriteString("\n" + rec.Body.String())
	return b.String()
}

// Send sends a request as it would be on the wire: first line, headers, an empty line, body.
func Send(t testing.TB, h http.Handler, lines ...string) *httptest.ResponseRecorder {
	t.Helper()
	head, body := lines, ""
	for i, l := range lines {
		if l == "" {
			head, body = lines[:i], strings.Join(lines[i+1:], "\n")
			break
		}
	}
	raw := head[0] + " HTTP/1.1\r\nHost: panel.example.com\r\n"
	for _, l := range head[1:] {
		raw += l + "\r\n"
	}
	if body != "" {
		raw += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewBufferString(raw + "\r\n" + body)))
	if err != nil {
		t.Fatalf("%s: %v", head[0], err)
	}
	r.RemoteAddr = "203.0.113.7:5000"
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}
