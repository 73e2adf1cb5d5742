package gateway_test

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
)

var update = flag.Bool("update", false, "rewrite the replies in testdata")

// shown are the headers of a reply that a transcript holds.
var shown = []string{"Content-Type", "Allow", "Retry-After", "Location", "Www-Authenticate"}

// TestTranscripts replays testdata: lines after > are the request, those after < the exact reply, others are comments.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, newQuietStack(t).Handler(), string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			was, is := strings.Split(string(text), "\n"), strings.Split(got, "\n")
			for i := range max(len(was), len(is)) {
				if i >= len(was) || i >= len(is) || was[i] != is[i] {
					t.Fatalf("line %d differs (run with -update and read the diff):\n%s", i+1, strings.Join(is[max(0, i-5):min(len(is), i+3)], "\n"))
				}
			}
		})
	}
}

// replay answers every request of a transcript and puts the replies where the old ones were.
func replay(t *testing.T, h http.Handler, text string) string {
	t.Helper()
	var out, request []string
	flush := func() {
		if len(request) == 0 {
			return
		}
		for line := range strings.SplitSeq(reply(t, h, request), "\n") {
			out = append(out, strings.TrimRight("< "+line, " "))
		}
		request = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, ">"):
			request = append(request, strings.TrimPrefix(strings.TrimPrefix(line, ">"), " "))
			out = append(out, line)
		case strings.HasPrefix(line, "<"):
			flush()
		default:
			flush()
			out = append(out, line)
		}
	}
	flush()
	return strings.Join(out, "\n")
}

func reply(t *testing.T, h http.Handler, lines []string) string {
	t.Helper()
	rec := send(t, h, lines...)
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

// send sends a request as it would be on the wire: first line, headers, an empty line, body.
func send(t *testing.T, h http.Handler, lines ...string) *httptest.ResponseRecorder {
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
