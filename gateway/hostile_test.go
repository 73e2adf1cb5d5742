package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"

	accesspb "slipway.dev/proto/access/v1"
)

// counted is a body that counts how often it is read.
type counted struct {
	io.Reader

	reads int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

// TestBodyOfStranger: without a credential, no body is read and no service is called, except by public methods, whose bodies are
// small.
func TestBodyOfStranger(t *testing.T) {
	t.Parallel()
	called := false
	h := recorded(t, func(string, metadata.MD) { called = true })
	for _, r := range routes() {
		called = false
		public := accessOf(r.RPC).GetLevel() == accesspb.Level_LEVEL_PUBLIC
		body := &counted{Reader: strings.NewReader(`{"x":"` + strings.Repeat("a", 64<<10) + `"}`)}
		req := httptest.NewRequest(r.Method, variable.ReplaceAllString(r.Path, "7")+"?limit=x", body)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		want := http.StatusUnauthorized
		if public && r.Body {
			want = http.StatusRequestEntityTooLarge
		}
		if rec.Code != want && !(public && !r.Body) || called || body.reads > 0 != public {
			t.Errorf("%s %s: %d, want %d; read %d times, called: %v", r.Method, r.Path, rec.Code, want, body.reads, called)
		}
	}
}

// TestHostileBodies: a hundred bodies that are costly to decode, at once and without a credential, cost next to nothing. It is not
// parallel: it counts what the process allocates.
func TestHostileBodies(t *testing.T) { //nolint:paralleltest // see above
	srv := httptest.NewServer(newQuietStack(t).Handler())
	t.Cleanup(srv.Close)
	bodies := []string{
		`{"disks":[` + strings.Repeat("{},", 333_000) + `{}]}`,
		`{"ipv4_pool":[` + strings.Repeat("1,", 500_000) + `1]}`,
		`{"unknown":[` + strings.Repeat("{},", 333_000) + `{}]}`,
		`{"ssh_keys":[` + strings.Repeat(`"",`, 333_000) + `""]}`,
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	refused := make(chan error, 100)
	for i := range 100 {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/vm/v3/host", strings.NewReader(bodies[i%len(bodies)]))
			if err != nil {
				refused <- err
				return
			}
			req.Header.Set("X-Xsrf-Token", fmt.Sprint("guess", i%2*i)) // half of them are one unknown credential
			resp, err := srv.Client().Do(req)
			if err != nil {
				return // the server hung up while the body was still on its way
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusTooManyRequests {
				refused <- fmt.Errorf("%s", resp.Status)
			}
		})
	}
	wg.Wait()
	close(refused)
	for err := range refused {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	// All that was allocated, the garbage too: it was 50 to 140 MiB for each of them.
	if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 64 {
		t.Errorf("%d MiB were allocated", grown)
	}
}
