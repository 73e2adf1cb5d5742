package access

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accesspb "slipway.dev/proto/access/v1"
	protos "slipway.dev/proto/all"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/identity"
)

// message returns an empty message of the input or output of a method.
func message(t *testing.T, d protoreflect.MessageDescriptor) any {
	t.Helper()
	m, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return m.New().Interface()
}

// callOnce calls a method with an empty message, also one that streams, and returns its error.
func callOnce(t *testing.T, ctx context.Context, c grpc.ClientConnInterface, name string, d protoreflect.MethodDescriptor) error {
	t.Helper()
	if !d.IsStreamingClient() {
		return c.Invoke(ctx, name, message(t, d.Input()), message(t, d.Output()))
	}
	s, err := c.NewStream(ctx, &grpc.StreamDesc{StreamName: string(d.Name()), ClientStreams: true, ServerStreams: true}, name)
	if err != nil {
		return err
	}
	return s.RecvMsg(message(t, d.Output()))
}

// TestServicesAreNoClients calls every method that is for clients as every service, with the identity of an administrator: nothing
// but the gateway gets in.
func TestServicesAreNoClients(t *testing.T) {
	t.Parallel()
	w := build(t, 1)
	w.start()
	admin := w.login(adminEmail)
	signed := w.identity(0, admin)
	methods := 0
	for _, f := range protos.Files() {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				d := f.Services().Get(i).Methods().Get(j)
				m, ok := access.ByName("/" + string(d.Parent().FullName()) + "/" + string(d.Name()))
				service, _, _ := strings.Cut(string(d.FullName()), ".")
				if !ok || m.Level == accesspb.Level_LEVEL_SERVICE || !slices.Contains([]string{"auth", "vm", "ip"}, service) {
					continue
				}
				methods++
				for _, caller := range []string{"auth", "vm", "ip", "node", "prov", "dci", "", "Gateway"} {
					ctx := metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, signed)
					err := callOnce(t, ctx, w.replicas[0].Conn(service, caller), m.Name, d)
					if status.Code(err) != codes.PermissionDenied {
						t.Errorf("%s as %q: %v", m.Name, caller, err)
					}
				}
			}
		}
	}
	if methods < 80 {
		t.Errorf("only %d methods are for clients", methods)
	}
}

// seen records the identities with which services are called.
type seen struct {
	grpc.ClientConnInterface
	note func(identity string)
}

// Invoke implements grpc.ClientConnInterface.
func (s seen) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	for _, text := range md.Get(identity.MetadataKey) {
		s.note(text)
	}
	return s.ClientConnInterface.Invoke(ctx, method, in, out, opts...)
}

// TestIdentityIsForOneService checks that what the gateway sends to a service opens no other one, not even to a caller that says that
// it is the gateway.
func TestIdentityIsForOneService(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	given := map[string][]string{}
	w := buildWrapped(t, 1, func(caller, service string, conn grpc.ClientConnInterface) grpc.ClientConnInterface {
		if caller != "gateway" {
			return conn
		}
		return seen{conn, func(text string) {
			mu.Lock()
			defer mu.Unlock()
			given[service] = append(given[service], text)
		}}
	})
	w.start()
	admin := w.login(adminEmail)
	list := map[string]string{"auth": "/auth.v4.RoleService/ListScopes", "vm": "/vm.v3.HostService/ListHosts", "ip": "/ip.v3.NetworkService/ListNetworks"}
	for _, path := range []string{"/auth/v4/scope", "/vm/v3/host", "/ip/v3/ipnet"} {
		w.do("GET", path, admin, "")
	}
	mu.Lock()
	sent := maps.Clone(given)
	mu.Unlock()
	for to, identities := range sent {
		for at, method := range list {
			m, _ := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(method[1:], "/", ".")))
			d := m.(protoreflect.MethodDescriptor)
			want := codes.PermissionDenied
			if at == to {
				want = codes.OK
			}
			ctx := metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, identities[0])
			err := w.replicas[0].Peers("gateway")[at].Invoke(ctx, method, message(t, d.Input()), message(t, d.Output()))
			if status.Code(err) != want {
				t.Errorf("the identity for %s at %s: %v", to, at, err)
			}
		}
	}
	if len(sent) != 3 {
		t.Errorf("identities were sent to %d services", len(sent))
	}
}
