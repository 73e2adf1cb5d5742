package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"

	"slipway.dev/gateway"
)

// manyHosts has n hosts, which it lists as vm does: in pages of most rows at most.
type manyHosts struct {
	vmpb.UnimplementedHostServiceServer
	n, most int32
	// before is called before each page, with the number of rows in front of it.
	before func(ctx context.Context, from int32) error
}

// ListHosts implements vmpb.HostServiceServer.
func (m *manyHosts) ListHosts(ctx context.Context, r *vmpb.ListHostsRequest) (*vmpb.ListHostsResponse, error) {
	q := r.GetQuery()
	from := q.GetOffset()
	if text := q.GetCursor(); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || from != 0 {
			return nil, fault.Invalid.On("cursor")
		}
		from = int32(n)
	}
	if m.before != nil {
		if err := m.before(ctx, from); err != nil {
			return nil, err
		}
	}
	rows := m.most
	if n := q.GetLimit(); n > 0 {
		rows = min(n, m.most)
	}
	out := &vmpb.ListHostsResponse{LastNotify: 7}
	if !q.GetUncounted() {
		out.Size = m.n
	}
	for id := from + 1; id <= min(from+rows, m.n); id++ {
		out.List = append(out.List, host(id))
	}
	paged := q.GetLimit() == 0 || q.GetLimit() > m.most || q.Cursor != nil
	if !paged || from+rows >= m.n {
		return out, nil
	}
	return out, grpc.SetTrailer(ctx, metadata.Pairs(query.NextKey, fmt.Sprint(from+rows)))
}

// serveHosts starts a server of a gateway in front of m.
func serveHosts(t *testing.T, m *manyHosts, log *slog.Logger) *httptest.Server {
	t.Helper()
	s, conns := newServicesOf(t, m)
	g, err := gateway.New(gateway.Config{}, conns, log)
	if err != nil {
		t.Fatal(err)
	}
	s.Gateway = g
	srv := httptest.NewServer(g.Handler())
	t.Cleanup(srv.Close)
	return srv
}

// open asks as a user and returns the answer, whose body is still to be read.
func open(t *testing.T, srv *httptest.Server, method, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Xsrf-Token", "user")
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// listed is the answer of a list.
type listed struct {
	LastNotify int `json:"last_notify"`
	List       []struct {
		ID   int32  `json:"id"`
		Name string `json:"name"`
	}
	Size int
	Next *string
}

// TestListWithoutLimit checks that a list has every row that it is asked for, once and in order, however many pages of the
// service that takes.
func TestListWithoutLimit(t *testing.T) {
	t.Parallel()
	srv := serveHosts(t, &manyHosts{n: 4321, most: 1000}, slog.New(slog.DiscardHandler))
	for path, tt := range map[string]struct {
		first, rows int32
		size        int
		next        string
	}{
		"/vm/v3/host":                              {1, 4321, 4321, ""},
		"/vm/v3/host?limit=0":                      {1, 4321, 4321, ""},
		"/vm/v3/host?fields=id":                    {1, 4321, 4321, ""},
		"/vm/v3/host?limit=4000,0":                 {4001, 321, 4321, ""},
		"/vm/v3/host?limit=10,0":                   {11, 4311, 4321, ""},
		"/vm/v3/host?limit=15000":                  {1, 4321, 4321, ""},
		"/vm/v3/host?limit=1000":                   {1, 1000, 4321, ""},
		"/vm/v3/host?limit=1001":                   {1, 1001, 4321, ""},
		"/vm/v3/host?limit=4321":                   {1, 4321, 4321, ""},
		"/vm/v3/host?limit=1000,2500":              {1001, 2500, 4321, ""},
		"/vm/v3/host?limit=4000,2500":              {4001, 321, 4321, ""},
		"/vm/v3/host?limit=5000,2500":              {0, 0, 4321, ""},
		"/vm/v3/host?count=0":                      {1, 4321, 0, ""},
		"/vm/v3/host?cursor=":                      {1, 1000, 4321, "1000"},
		"/vm/v3/host?cursor=1000&limit=2000":       {1001, 2000, 4321, "3000"},
		"/vm/v3/host?cursor=3000&limit=2000":       {3001, 1321, 4321, "null"},
		"/vm/v3/host?cursor=&limit=700":            {1, 700, 4321, "700"},
		"/api/vm/v3/host?fields=id,name&limit=4,5": {5, 5, 4321, ""},
	} {
		resp := open(t, srv, http.MethodGet, path)
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		var got listed
		if err := json.Unmarshal(text, &got); err != nil {
			t.Errorf("%s: %v in %.200s", path, err, text)
			continue
		}
		next := ""
		if got.Next != nil {
			next = *got.Next
		} else if strings.HasSuffix(string(text), `,"next":null}`) {
			next = "null"
		}
		if len(got.List) != int(tt.rows) || got.Size != tt.size || got.LastNotify != 7 || next != tt.next {
			t.Errorf("%s: %d rows of %d, next %q; want %+v", path, len(got.List), got.Size, next, tt)
			continue
		}
		for i, h := range got.List {
			if h.ID != tt.first+int32(i) {
				t.Errorf("%s: row %d is host %d", path, i, h.ID)
				break
			}
		}
	}
}

// TestListOfPagesIsTheSame checks that an answer of several pages has the bytes of an answer of one.
func TestListOfPagesIsTheSame(t *testing.T) {
	t.Parallel()
	read := func(most int32, path string) string {
		resp := open(t, serveHosts(t, &manyHosts{n: 30, most: most}, slog.New(slog.DiscardHandler)), http.MethodGet, path)
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v %v", path, resp, err)
		}
		return string(text)
	}
	for _, path := range []string{"/vm/v3/host", "/vm/v3/host?fields=id,cluster.name", "/vm/v3/host?limit=5,20"} {
		if one, several := read(1000, path), read(7, path); one != several {
			t.Errorf("%s: %s\nwant %s", path, several, one)
		}
	}
}

// TestHeadOfList checks that a HEAD of a long list reads one page.
func TestHeadOfList(t *testing.T) {
	t.Parallel()
	asked := 0
	srv := serveHosts(t, &manyHosts{n: 100, most: 10, before: func(context.Context, int32) error { asked++; return nil }}, slog.New(slog.DiscardHandler))
	if resp := open(t, srv, http.MethodHead, "/vm/v3/host"); resp.StatusCode != http.StatusOK || asked != 1 {
		t.Errorf("%v after %d pages", resp.Status, asked)
	}
}

// TestListBreaksOff checks that an answer whose service fails in the middle does not look complete, and that the cause is logged.
func TestListBreaksOff(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	srv := serveHosts(t, &manyHosts{n: 5000, most: 1000, before: func(_ context.Context, from int32) error {
		if from >= 3000 {
			return fault.Unavailable
		}
		return nil
	}}, slog.New(slog.NewTextHandler(&log, nil)))
	resp := open(t, srv, http.MethodGet, "/vm/v3/host?fields=id")
	text, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || json.Valid(text) || !strings.HasPrefix(string(text), `{"last_notify":7,"list":[{"id":1},`) {
		t.Errorf("ended with %v: %.60s … %s", err, text, text[max(0, len(text)-20):])
	}
	if resp := open(t, srv, http.MethodGet, "/vm/v3/host?limit=3000,10"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a list whose first page fails: %v", resp.Status)
	}
	srv.Close()
	if line := log.String(); strings.Count(line, "level=ERROR") != 1 || !strings.Contains(line, "status=200") {
		t.Errorf("log: %s", line)
	}
}

// TestSlowReader checks that the client's pace holds a list up: no page is read before the client has taken the last one. The
// server's limit for reading a request, which would end the request's context, is lifted, and each part has a time of its own.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	read := 0
	m := &manyHosts{n: 10_000, most: 1000, before: func(context.Context, int32) error { read++; return nil }}
	s, conns := newServicesOf(t, m)
	var err error
	if s.Gateway, err = gateway.New(gateway.Config{}, conns, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/vm/v3/host", http.NoBody)
	r.Header.Set("X-Xsrf-Token", "user")
	w := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
	w.before = func() {
		if w.writes++; read > w.writes {
			t.Errorf("%d pages are read before part %d is written", read, w.writes)
		}
		if w.reading == nil || !w.reading.IsZero() || w.writing == nil || time.Until(*w.writing) < 30*time.Second {
			t.Errorf("part %d is written with the deadlines %v, %v", w.writes, w.reading, w.writing)
		}
	}
	s.Handler().ServeHTTP(w, r)
	var got listed
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.List) != 10_000 || read < 10 {
		t.Errorf("%d rows in %d pages: %v", len(got.List), read, err)
	}
}

// countingWriter does something before each part of an answer.
type countingWriter struct {
	*httptest.ResponseRecorder
	writes           int
	before           func()
	reading, writing *time.Time
}

// SetReadDeadline is for http.ResponseController.
func (w *countingWriter) SetReadDeadline(t time.Time) error { w.reading = &t; return nil }

// SetWriteDeadline is for http.ResponseController.
func (w *countingWriter) SetWriteDeadline(t time.Time) error { w.writing = &t; return nil }

// Write implements http.ResponseWriter.
func (w *countingWriter) Write(p []byte) (int, error) {
	w.before()
	return w.ResponseRecorder.Write(p)
}

// TestClientGoesAway checks that the page that is read for a client ends with the client.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	reached, ended := make(chan struct{}), make(chan error, 1)
	m := &manyHosts{n: 100_000, most: 100, before: func(ctx context.Context, from int32) error {
		if from < 1000 {
			return nil
		}
		close(reached)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}}
	srv := serveHosts(t, m, slog.New(slog.DiscardHandler))
	resp := open(t, srv, http.MethodGet, "/vm/v3/host?fields=id") // pages that fit into the buffers between
	<-reached
	_ = resp.Body.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the page ended with %v", err)
	}
}

// TestManyLongLists checks that an account reads only so many long lists at the same time, and that this holds up neither short
// lists nor other accounts.
func TestManyLongLists(t *testing.T) {
	t.Parallel()
	const most = 8
	var mu sync.Mutex
	release, waiting := make(chan struct{}), 0
	full := make(chan struct{})
	m := &manyHosts{n: 100, most: 10, before: func(ctx context.Context, from int32) error {
		if from != 10 {
			return nil
		}
		mu.Lock()
		if waiting++; waiting == most {
			close(full)
		}
		mu.Unlock()
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	srv := serveHosts(t, m, slog.New(slog.DiscardHandler))
	results := make(chan error, 3*most)
	ask := func(token, path string, rows int) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, http.NoBody)
		if err != nil {
			return err
		}
		r.Header.Set("X-Xsrf-Token", token)
		resp, err := srv.Client().Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var got listed
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || len(got.List) != rows {
			return fmt.Errorf("%s: %d rows, %w", resp.Status, len(got.List), err)
		}
		return nil
	}
	for range 2 * most {
		go func() { results <- ask("user", "/vm/v3/host", 100) }()
	}
	<-full
	if err := ask("user", "/vm/v3/host?limit=5", 5); err != nil {
		t.Errorf("a short list of the same account: %v", err)
	}
	mu.Lock()
	if waiting > most {
		t.Errorf("%d long lists of one account at the same time", waiting)
	}
	mu.Unlock()
	go func() { results <- ask("admin", "/vm/v3/host", 100) }()
	for other := false; !other; { // another account is not held up
		mu.Lock()
		other = waiting == most+1
		mu.Unlock()
		runtime.Gosched()
	}
	close(release)
	for range 2*most + 1 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// TestMemoryOfLongList checks that the memory for a list does not grow with its length: one of 200,000 hosts, some 150 MB of
// JSON, takes less than 40 MiB.
func TestMemoryOfLongList(t *testing.T) {
	const hosts, bound = 200_000, 40 << 20
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var most uint64
	srv := serveHosts(t, &manyHosts{n: hosts, most: 1000, before: func(_ context.Context, from int32) error {
		if from%20_000 == 0 {
			most = max(most, live())
		}
		return nil
	}}, slog.New(slog.DiscardHandler))
	before := live()
	n, err := io.Copy(io.Discard, open(t, srv, http.MethodGet, "/vm/v3/host").Body)
	if err != nil || n < 100<<20 {
		t.Fatalf("%d bytes: %v", n, err)
	}
	if most > before+bound {
		t.Errorf("%d MiB more for %d MiB of JSON", (most-before)>>20, n>>20)
	}
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns the log so far.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
