package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"slipway.dev/gateway"
	"slipway.dev/gateway/internal/rest"
)

// get asks as a user; accept is the header of that name.
func get(t *testing.T, h http.Handler, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.Header.Set("X-Xsrf-Token", "user")
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestListShapes(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	const first = `{"last_notify":7,"list":[{"id":1,"name":"vm-1"},{"id":2,"name":"vm-2"},{"id":3,"name":"vm-3"}],"size":7,"next":"3"}`
	for path, want := range map[string]string{
		"/vm/v3/host?fields=name,id&cursor=":                first, // in the order of the message
		"/vm/v3/host?fields=id&fields=+name+,&cursor=":      first,
		"/api/vm/v3/host?fields=id&cursor=6":                `{"last_notify":7,"list":[{"id":7}],"size":7,"next":null}`,
		"/vm/v3/host?fields=id&cursor=6&count=0":            `{"last_notify":7,"list":[{"id":7}],"size":0,"next":null}`,
		"/vm/v3/host?fields=id,cluster.name,task&limit=0,1": `{"last_notify":0,"list":[{"id":1,"cluster":{"name":"main"},"task":100023}],"size":1}`,
		"/vm/v3/host?fields=ip4.ip&limit=1":                 `{"last_notify":0,"list":[{"ip4":[{"ip":"198.51.100.9"}]}],"size":1}`,
		"/vm/v3/host?explain=1":                             `{"explain":{"tree":{"value":"\u0065rror"},"time_ms":1.5}}`,
	} {
		if w := get(t, h, path, ""); w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	for path, want := range map[string]string{
		"/vm/v3/host?fields=id,secret":    `fields: unknown field \"secret\"; allowed: id, name, comment, state,`,
		"/vm/v3/host?fields=cluster.none": `fields: unknown field \"cluster.none\"`,
		"/vm/v3/host?fields=id.id":        `fields: unknown field \"id.id\"`,
		"/vm/v3/host?fields=task.value":   `fields: unknown field \"task.value\"`,
	} {
		if w := get(t, h, path, ""); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	if w := get(t, h, "/vm/v3/host/21?fields=none&cursor=x&explain=1", rest.Lines); w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("what is no list knows no fields: %d %s", w.Code, w.Body)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	s := newQuietStack(t)
	w := get(t, s.Handler(), "/api/vm/v3/host?fields=id&limit=2&explain=1", rest.Lines)
	want := "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n{\"id\":5}\n{\"id\":6}\n{\"id\":7}\n"
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != rest.Lines || w.Body.String() != want || w.Header().Get("Content-Length") != "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := get(t, s.Handler(), "/vm/v3/host?where=(", rest.Lines); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"code":90001`) {
		t.Errorf("refused: %d %s", w.Code, w.Body)
	}
	full := get(t, s.Handler(), "/vm/v3/host?cursor=6", rest.Lines)
	var one map[string]any
	if err := json.Unmarshal(full.Body.Bytes(), &one); err != nil || one["name"] != "vm-7" || one["next"] != nil {
		t.Errorf("from a cursor: %v %s", err, full.Body)
	}
}

// TestExportBreaksOff: a client cannot mistake a part of an export for the whole.
func TestExportBreaksOff(t *testing.T) {
	t.Parallel()
	s := newQuietStack(t)
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	ask := func(path string) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Xsrf-Token", "user")
		r.Header.Set("Accept", rest.Lines)
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(text), `{"id":1}`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
		return err
	}
	if err := ask("/vm/v3/host?fields=id&where=name+EQ+'fails'"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an export whose second page fails ended with %v", err)
	}
	if err := ask("/vm/v3/host?fields=id"); err != nil {
		t.Errorf("a whole export ended with %v", err)
	}
}

// TestExportOfARevokedSession: the credential is looked at before every page.
func TestExportOfARevokedSession(t *testing.T) {
	t.Parallel()
	s := newStack(t, gateway.Config{}, slog.New(slog.DiscardHandler))
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // the value itself is the contract of net/http
			t.Errorf("the export went on: %v", p)
		}
	}()
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/vm/v3/host?fields=id", http.NoBody)
	r.Header.Set("X-Xsrf-Token", "user")
	r.Header.Set("Accept", rest.Lines)
	s.Handler().ServeHTTP(&onFlush{httptest.NewRecorder(), func() { s.auth.gone.Store(true); s.Revoke(40, 4) }}, r)
}

// onFlush does something after each page.
type onFlush struct {
	*httptest.ResponseRecorder
	do func()
}

func (f *onFlush) Flush() { f.do() }
