package gateway_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"slipway.dev/gateway"
)

// nowhere is a reply that nobody reads.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

// benchmark measures the whole way of a request through the gateway and a service of the same process, without sockets.
func benchmark(b *testing.B, target, token string) {
	h := newStack(b, gateway.Config{}, slog.New(slog.DiscardHandler)).Handler()
	r := httptest.NewRequest(http.MethodGet, target, http.NoBody)
	if token != "" {
		r.Header.Set("X-Xsrf-Token", token)
	}
	b.ReportAllocs()
	for b.Loop() {
		w := nowhere{http.Header{}}
		h.ServeHTTP(w, r)
		if id := w.h.Get("Content-Type"); id != "application/json" {
			b.Fatal(id)
		}
	}
}

func BenchmarkHealth(b *testing.B)   { benchmark(b, "/healthz", "") }
func BenchmarkGetHost(b *testing.B)  { benchmark(b, "/vm/v3/host/21", "user") }
func BenchmarkListHost(b *testing.B) { benchmark(b, "/vm/v3/host?limit=0,50", "user") }
func BenchmarkGetPool(b *testing.B)  { benchmark(b, "/vm/v3/ippool/1", "admin") }

func BenchmarkFilter(b *testing.B) {
	benchmark(b, "/vm/v3/host?where=(name+CP+'%25web%25')+AND+(account.id+EQ+4)&limit=0,50", "user")
}
