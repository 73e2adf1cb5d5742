package gateway_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"slipway.dev/proto/all"
	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/gateway"
	"slipway.dev/gateway/internal/edge"
	"slipway.dev/gateway/internal/ispsystem"
	"slipway.dev/gateway/internal/rest"
)

// nowhere is a reply that is discarded.
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

// BenchmarkSessionCheck measures how much the lookup of a token's session costs: the same request
// in turn through the same edge and dialect, once with the guard, once with an identity that is there already.
func BenchmarkSessionCheck(b *testing.B) {
	_, conns := newServices(b)
	dialect, err := rest.New(ispsystem.Dialect(), all.Files(), conns)
	if err != nil {
		b.Fatal(err)
	}
	tokens := authpb.NewTokenServiceClient(conns["auth"])
	sessions := edge.NewSessions(tokens, time.Hour)
	known, ok, err := sessions.Find(b.Context(), "user")
	if err != nil || !ok {
		b.Fatal(ok, err)
	}
	unchecked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := edge.Of(r.Context())
		q.Session, q.Known, q.Account = known, true, known.AccountID
		dialect.ServeHTTP(w, r)
	})
	quiet := slog.New(slog.DiscardHandler)
	ways := []http.Handler{
		edge.Handler(edge.Config{}, quiet, dialect.Mount(unchecked)),
		edge.Handler(edge.Config{}, quiet, dialect.Mount(edge.Guard(edge.NewSessions(tokens, 0), dialect))),
	}
	r := httptest.NewRequest(http.MethodGet, "/vm/v3/host/21", http.NoBody)
	r.Header.Set("X-Xsrf-Token", "user")
	var took [2]time.Duration
	for b.Loop() {
		for i, h := range ways {
			w := nowhere{http.Header{}}
			at := time.Now()
			h.ServeHTTP(w, r)
			took[i] += time.Since(at)
			if w.h.Get("Www-Authenticate") != "" {
				b.Fatal("not let in")
			}
		}
	}
	b.ReportMetric(100*took[0].Seconds()/took[1].Seconds(), "%kept")
}
