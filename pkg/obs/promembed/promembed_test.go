package promembed

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// TestScrapes: the server scrapes with the token, answers to its password alone, and ends with its context.
func TestScrapes(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	scraped := make(chan string, 100)
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scraped <- r.Header.Get("Authorization")
		fmt.Fprintln(w, "canary 7")
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	dir, err := os.MkdirTemp("", "slipway-prometheus-") // not below a directory that is closed to the server's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := New(Config{Dir: dir, Target: l.Addr().String(), Token: "secret", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.every = 100 * time.Millisecond
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	if got := <-scraped; got != "Bearer secret" {
		t.Errorf("scraped with %q", got)
	}
	c, err := api.NewClient(api.Config{Address: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	for {
		v, _, _, err := v1.NewAPI(c).Query(t.Context(), "canary", time.Now())
		if list, _ := v.(model.Vector); err == nil && len(list) == 1 && list[0].Value == 7 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	resp, err := http.Get(strings.Replace(s.URL(), s.password, "guess", 1) + "/api/v1/query?query=canary")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("another password: %s", resp.Status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port)); err == nil {
		conn.Close()
		t.Error("the server still listens")
	}
}
