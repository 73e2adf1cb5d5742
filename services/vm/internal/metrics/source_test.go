package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway.dev/pkg/fault"
)

func source(t *testing.T, h http.HandlerFunc) Source {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s, err := NewSource(srv.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answers returns a server that answers every query with one result.
func answers(t *testing.T, kind, result string) Source {
	t.Helper()
	return source(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, result)
	})
}

// TestRead: values that are no numbers are left out; a single value that is missing is 0.
func TestRead(t *testing.T) {
	t.Parallel()
	s := span{from: now.Add(-time.Hour), until: now}
	single := span{s.from, s.until, true}
	at := float64(now.Unix())
	for _, tt := range []struct {
		name   string
		source Source
		span   span
		want   []point
	}{
		{"series", answers(t, "matrix", `[{"metric":{},"values":[[1767225600,"2.5"],[1767225615,"NaN"],[1767225630,"0"]]}]`), s, []point{{2.5, 1767225600}, {0, 1767225630}}},
		{"no series", answers(t, "matrix", `[]`), s, []point{}},
		{"single", answers(t, "vector", `[{"metric":{},"value":[1767225600,"12345678901"]}]`), single, []point{{12345678901, at}}},
		{"no single", answers(t, "vector", `[]`), single, []point{{0, at}}},
		{"single without a number", answers(t, "vector", `[{"metric":{},"value":[1767225600,"+Inf"]}]`), single, []point{{0, at}}},
	} {
		got, err := tt.source.read(t.Context(), "up", tt.span)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

// TestReadFails: whatever is wrong with the server is UNAVAILABLE, and the client reads nothing of the server.
func TestReadFails(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	defer close(ended)
	for name, s := range map[string]Source{
		"none":  {},
		"error": source(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "canary", http.StatusBadGateway) }),
		"refusal": source(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"canary"}`)
		}),
		"nonsense": source(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "canary") }),
		"silence":  source(t, func(http.ResponseWriter, *http.Request) { <-ended }),
	} {
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		_, err := s.read(ctx, "up", span{from: now.Add(-time.Hour), until: now})
		stop()
		if !errors.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewSource(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"prometheus:9090", "ftp://prometheus", "http://", "::"} {
		if _, err := NewSource(server, nil); err == nil {
			t.Errorf("%s is a metrics server", server)
		}
	}
}
