package allinone

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"slipway.dev/pkg/durable"
	"slipway.dev/pkg/identity"
	"slipway.dev/services/node"
)

// dialAgent reaches the one agent of this process.
func (s *stack) dialAgent(endpoint string) (grpc.ClientConnInterface, error) {
	if endpoint != node.LocalEndpoint {
		return nil, fmt.Errorf("the agent at %s is not of this process", endpoint)
	}
	return s.node.Server().Local("vm"), nil
}

// announce waits until the node is known and the API answers, makes the first network, and says so.
func (s *stack) announce(ctx context.Context, addr net.Addr, out io.Writer) error {
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

// asAdmin is a context of the installation itself, which acts as its first administrator.
func (s *stack) asAdmin(ctx context.Context) (context.Context, error) {
	id, err := s.auth.AdminIdentity(ctx)
	return metadata.AppendToOutgoingContext(ctx, identity.MetadataKey, id), err
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
