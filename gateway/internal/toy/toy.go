// Package toy is a dialect for tests of the kit. It differs from ispsystem in every way that a dialect may: names and numbers in
// JSON, errors, credentials, limits, a proto of its own whose service it implements by core rpcs, an upload, a stream, an upgraded
// connection and a long request.
package toy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
	"slipway.dev/gateway/internal/rest"
)

//go:generate ./generate.sh

// Dialect returns the dialect.
func Dialect() rest.Dialect {
	return rest.Dialect{
		Name:     "toy",
		Prefixes: []string{"/toy"},
		Fail:     fail,
		ReadError: func(body []byte) (string, bool) {
			return strings.CutPrefix(string(body), "toy error ")
		},
		Codec:       rest.Codec{JSONNames: true, Text64: true},
		Credentials: []edge.Credential{{Header: "X-Toy-Key"}, {Cookie: "toy"}},
		Limits:      edge.Limits{Body: 1000, URL: 500},
		Document: rest.Document{
			Title: "Toy", Version: "1", Path: "/toy/openapi.json",
			Error: func() map[string]any { return map[string]any{"type": "string"} },
		},
		Files: []protoreflect.FileDescriptor{File_toy_v1_toy_proto},
		Serve: func(s grpc.ServiceRegistrar, c rest.Conns) {
			RegisterMachineServiceServer(s, &server{hosts: vmpb.NewHostServiceClient(c["vm"])})
		},
		Raw: func(c rest.Conns) map[protoreflect.FullName]http.Handler {
			return map[protoreflect.FullName]http.Handler{
				"toy.v1.MachineService.Upload":  http.HandlerFunc(upload),
				"toy.v1.MachineService.Watch":   http.HandlerFunc(watch),
				"toy.v1.MachineService.Console": console{vmpb.NewHostServiceClient(c["vm"])},
			}
		},
	}
}

// fail answers with text that resembles nothing of ispsystem.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	f, ok := fault.From(err)
	if !ok {
		f = fault.Internal
	}
	edge.Of(r.Context()).Reason = f.Reason
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusTeapot)
	_, _ = fmt.Fprintf(w, "toy error %s", f.Reason) // an error means that the client went away
}

type server struct {
	UnimplementedMachineServiceServer
	hosts vmpb.HostServiceClient
}

// GetMachine implements MachineServiceServer.
func (s *server) GetMachine(ctx context.Context, r *GetMachineRequest) (*Machine, error) {
	if r.GetMachineId() == 13 {
		panic("unlucky")
	}
	h, err := s.hosts.GetHost(ctx, &vmpb.GetHostRequest{Id: int32(r.GetMachineId())}) //nolint:gosec // of a test
	if err != nil {
		return nil, err
	}
	return &Machine{MachineId: int64(h.GetId()), Parent: &Machine{MachineId: 1 << 60}, InternalNote: "canary"}, nil
}

// PutMachine implements MachineServiceServer.
func (s *server) PutMachine(ctx context.Context, r *PutMachineRequest) (*Machine, error) {
	h, err := s.hosts.CreateHost(ctx, &vmpb.CreateHostRequest{Name: r.GetName(), Comment: r.GetInternalNote()})
	if err != nil {
		return nil, err
	}
	return &Machine{MachineId: int64(h.GetId()), MadeOf: r}, nil
}

// FollowLink implements MachineServiceServer.
func (s *server) FollowLink(ctx context.Context, _ *FollowLinkRequest) (*Machine, error) {
	op, err := s.hosts.StartHost(ctx, &vmpb.StartHostRequest{Id: 1})
	return &Machine{MachineId: int64(op.GetId())}, err
}

// Wait implements MachineServiceServer.
func (s *server) Wait(ctx context.Context, _ *GetMachineRequest) (*Machine, error) {
	end, _ := ctx.Deadline()
	return &Machine{MachineId: int64(time.Until(end).Round(time.Second).Seconds())}, nil
}

func upload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if f, ok := edge.TooLarge(err); ok {
		fail(w, r, f)
		return
	}
	_, _ = fmt.Fprintf(w, "%d bytes", n) // an error means that the client went away
}

func watch(w http.ResponseWriter, r *http.Request) {
	_, limited := r.Context().Deadline()
	err := http.NewResponseController(w).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		err = nil
	}
	_, _ = fmt.Fprintf(w, "limited %v, %v", limited, err) // an error means that the client went away
}

// console upgrades the connection, as a WebSocket does, and echoes bytes until the client closes it.
type console struct{ hosts vmpb.HostServiceClient }

// ServeHTTP implements http.Handler.
func (c console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseInt(r.PathValue("machine_id"), 10, 32)
	if _, err := c.hosts.GetHost(r.Context(), &vmpb.GetHostRequest{Id: int32(id)}); err != nil {
		fail(w, r, err)
		return
	}
	if r.Header.Get("Upgrade") == "" {
		fail(w, r, fault.Invalid.With("an upgrade is required"))
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, r, err)
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(conn, rw) // an error means that the client went away
}
