package allinone

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"slipway.dev/pkg/durable"
)

// announce waits until the node is known and the API answers, makes the first network, and says so.
func (s *process) announce(ctx context.Context, addr net.Addr, out io.Writer) error {
	for {
		_, err := s.node.Register(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop before it was ready
		}
		s.log.Warn("the node is not registered yet", "err", err)
		sleep(ctx, 200*time.Millisecond)
	}
	if err := s.firstNetwork(ctx); err != nil {
		return fmt.Errorf("first network: %w", err)
	}
	url := "http://" + addr.String()
	for !answers(ctx, url+"/readyz") {
		if ctx.Err() != nil {
			return nil
		}
		sleep(ctx, 50*time.Millisecond)
	}
	if err := durable.Replace(filepath.Join(s.cfg.Data, urlFile), []byte(url+"\n"), 0o644); err != nil {
		return err
	}
	s.log.Info("ready", "url", url, "hypervisor", s.node.Hypervisor(ctx))
	if _, err := fmt.Fprintf(out, "ready %s\n", url); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
