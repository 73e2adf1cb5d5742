package gateway_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	oppb "slipway.dev/proto/op/v1"
	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/rpc"

	"slipway.dev/gateway"
	"slipway.dev/gateway/internal/where"
)

// stack is a gateway in front of fake services that are called as the real ones are.
type stack struct {
	*gateway.Gateway
	auth *fakeAuth
	vm   *fakeVM

	screens *fakeScreens
}

func newStack(t testing.TB, cfg gateway.Config, log *slog.Logger) *stack {
	t.Helper()
	s, conns := newServices(t)
	var err error
	if s.Gateway, err = gateway.New(cfg, conns, log); err != nil {
		t.Fatal(err)
	}
	return s
}

// newServices is a stack without a gateway.
func newServices(t testing.TB) (*stack, gateway.Conns) { return newServicesOf(t, nil) }

// newServicesOf is newServices with other hosts, unless they are nil.
func newServicesOf(t testing.TB, hosts vmpb.HostServiceServer) (*stack, gateway.Conns) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	verifier := identity.NewVerifier(func(context.Context) (map[string]ed25519.PublicKey, error) {
		return map[string]ed25519.PublicKey{"k": pub}, nil
	})
	s := &stack{auth: &fakeAuth{signer: identity.NewSigner("k", priv)}, vm: &fakeVM{}, screens: &fakeScreens{}}
	quiet := slog.New(slog.DiscardHandler)
	auth, vm, ip := rpc.NewServer(quiet, verifier), rpc.NewServer(quiet, verifier), rpc.NewServer(quiet, verifier)
	authpb.RegisterTokenServiceServer(auth, s.auth)
	authpb.RegisterUserServiceServer(auth, fakeUsers{})
	authpb.RegisterKeyServiceServer(auth, fakeKeys{})
	if hosts == nil {
		hosts = s.vm
	}
	vmpb.RegisterHostServiceServer(vm, hosts)
	vmpb.RegisterConsoleServiceServer(vm, s.screens)
	vmpb.RegisterTaskServiceServer(vm, fakeTasks{vm: s.vm})
	ippb.RegisterPoolServiceServer(ip, fakePools{})
	return s, gateway.Conns{"auth": auth.Local("gateway"), "vm": vm.Local("gateway"), "ip": ip.Local("gateway")}
}

func newQuietStack(t testing.TB) *stack {
	t.Helper()
	return newStack(t, gateway.Config{}, slog.New(slog.DiscardHandler))
}

// What else the user of fakeAuth has: an API key and an access token, as long as real ones are.
var (
	fakeAPIKey = "slw_" + strings.Repeat("k", 43) + "_000000"
	fakeAccess = strings.Repeat("h", 70) + "." + strings.Repeat("p", 250) + "." + strings.Repeat("s", 86)
)

// fakeAuth knows the tokens "admin", "user" and "reader", for accounts 3, 4 and 5.
type fakeAuth struct {
	authpb.UnimplementedTokenServiceServer
	signer *identity.Signer
	asked  atomic.Int32
	down   atomic.Bool
	gone   atomic.Bool // the user's session was revoked
}

func (a *fakeAuth) Introspect(_ context.Context, r *authpb.IntrospectRequest) (*authpb.IntrospectResponse, error) {
	a.asked.Add(1)
	if a.down.Load() {
		return nil, fault.Unavailable
	}
	i := identity.Identity{Expires: time.Now().Add(time.Minute)}
	switch token := r.GetToken(); {
	case token == "admin":
		i.AccountID, i.SessionID, i.Roles = 3, 30, []string{identity.RoleAdmin}
	case (token == "user" || token == "4-cafe" || token == fakeAPIKey || token == fakeAccess) && !a.gone.Load():
		i.AccountID, i.SessionID, i.Roles = 4, 40, []string{identity.RoleUser}
	case token == "reader":
		i.AccountID, i.SessionID, i.Roles = 5, 50, []string{identity.RoleReadOnlyAdmin}
	default:
		return nil, identity.ErrInvalid
	}
	text, err := a.signer.Sign(i)
	return &authpb.IntrospectResponse{
		Identity: text, AccountId: i.AccountID, SessionId: i.SessionID, ExpiresAt: timestamppb.New(i.Expires), Admin: i.Admin(),
	}, err
}

func (a *fakeAuth) DeleteToken(_ context.Context, r *authpb.DeleteTokenRequest) (*authpb.DeleteTokenResponse, error) {
	if r.GetToken() != "4-a b/c" && r.GetToken() != "4-x" && r.GetToken() != "canary-token" {
		return nil, fault.NotFound.With("no token %s", r.GetToken())
	}
	return &authpb.DeleteTokenResponse{}, nil
}

func (a *fakeAuth) Whoami(ctx context.Context, _ *authpb.WhoamiRequest) (*authpb.User, error) {
	i, _ := identity.From(ctx)
	return &authpb.User{Id: i.AccountID, Roles: i.Roles, Email: rpc.RequestID(ctx)}, nil
}

type fakeUsers struct {
	authpb.UnimplementedUserServiceServer
}

func (fakeUsers) ListUsers(_ context.Context, r *authpb.ListUsersRequest) (*authpb.ListUsersResponse, error) {
	return &authpb.ListUsersResponse{List: []*authpb.User{{Id: 1, Email: print(r.GetQuery())}}, Size: 1}, nil
}

func (fakeUsers) AddSSHKey(context.Context, *authpb.AddSSHKeyRequest) (*authpb.AddSSHKeyResponse, error) {
	return &authpb.AddSSHKeyResponse{Id: 9}, nil
}

func (fakeUsers) ListSSHKeys(_ context.Context, r *authpb.ListSSHKeysRequest) (*authpb.ListSSHKeysResponse, error) {
	return &authpb.ListSSHKeysResponse{List: []*authpb.SSHKey{{Id: 9, Name: "of " + r.GetAccount()}}, Size: 1}, nil
}

type fakeVM struct {
	vmpb.UnimplementedHostServiceServer
	task    atomic.Int32
	created atomic.Pointer[vmpb.CreateHostRequest]
	meta    atomic.Pointer[metadata.MD]
}

func (v *fakeVM) CreateHost(_ context.Context, r *vmpb.CreateHostRequest) (*vmpb.CreateHostResponse, error) {
	if r.GetName() == "boom" {
		panic("canary-panic")
	}
	v.created.Store(r)
	v.task.Store(100023)
	return &vmpb.CreateHostResponse{Id: 21, Task: 100023}, nil
}

func (v *fakeVM) GetHost(ctx context.Context, r *vmpb.GetHostRequest) (*vmpb.Host, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	v.meta.Store(&md)
	if r.GetId() == 404 {
		return nil, fault.NotFound.With("no host %d", r.GetId())
	}
	if r.GetId() == 503 {
		return nil, fault.Unavailable
	}
	return host(r.GetId()), nil
}

func (v *fakeVM) ListHosts(ctx context.Context, r *vmpb.ListHostsRequest) (*vmpb.ListHostsResponse, error) {
	if q := r.GetQuery(); q.GetExplain() {
		return &vmpb.ListHostsResponse{}, grpc.SetTrailer(ctx, metadata.Pairs(query.ExplainKey, `{"tree":{"value":"error"},"time_ms":1.5}`))
	} else if q != nil && q.Cursor != nil {
		return v.page(ctx, q)
	}
	if q := r.GetQuery(); q.GetLimit() > 0 && q.GetWhere() == nil {
		out := &vmpb.ListHostsResponse{Size: q.GetLimit()}
		for i := range q.GetLimit() {
			out.List = append(out.List, host(i+1))
		}
		return out, nil
	}
	return &vmpb.ListHostsResponse{LastNotify: 7, List: []*vmpb.Host{{Id: 1, Comment: print(r.GetQuery())}}, Size: 1}, nil
}

// page has three of seven hosts; it fails at the cursor "fail".
func (v *fakeVM) page(ctx context.Context, q *querypb.Query) (*vmpb.ListHostsResponse, error) {
	var from int32
	if _, err := fmt.Sscan(q.GetCursor(), &from); err != nil && q.GetCursor() != "" {
		return nil, fault.Internal
	}
	out := &vmpb.ListHostsResponse{LastNotify: 7}
	if !q.GetUncounted() {
		out.Size = 7
	}
	for id := from + 1; id <= min(from+3, 7); id++ {
		out.List = append(out.List, host(id))
	}
	if from+3 >= 7 {
		return out, nil
	}
	next := fmt.Sprint(from + 3)
	if where.Print(q.GetWhere()) == "name EQ 'fails'" {
		next = "fail"
	}
	return out, grpc.SetTrailer(ctx, metadata.Pairs(query.NextKey, next))
}

func (v *fakeVM) StartHost(_ context.Context, r *vmpb.StartHostRequest) (*oppb.Operation, error) {
	if r.GetId() == 409 {
		return nil, fault.New(codes.FailedPrecondition, "HOST_DELETING", "the host is being deleted")
	}
	return &oppb.Operation{Id: r.GetId(), Task: 100024}, nil
}

func (v *fakeVM) StopHost(_ context.Context, r *vmpb.StopHostRequest) (*oppb.Operation, error) {
	return &oppb.Operation{Id: r.GetId(), Task: map[bool]int32{false: 1, true: 2}[r.GetForce()]}, nil
}

func (v *fakeVM) DeleteHost(_ context.Context, r *vmpb.DeleteHostRequest) (*oppb.Operation, error) {
	return &oppb.Operation{Id: r.GetId(), Task: map[bool]int32{false: 1, true: 2}[r.GetForce()]}, nil
}

func (v *fakeVM) GetHostConsole(context.Context, *vmpb.GetHostConsoleRequest) (*httpbody.HttpBody, error) {
	return &httpbody.HttpBody{ContentType: "text/plain", Data: []byte("<script>\nlogin: ")}, nil
}

type fakeTasks struct {
	vmpb.UnimplementedTaskServiceServer
	vm *fakeVM
}

func (f fakeTasks) ListTasks(_ context.Context, r *vmpb.ListTasksRequest) (*vmpb.ListTasksResponse, error) {
	out := &vmpb.ListTasksResponse{}
	if c := r.GetQuery().GetWhere().GetCompare(); c.GetField() == "consul_id" && c.GetValue() == fmt.Sprint(f.vm.task.Load()) {
		out.List = []*vmpb.Task{{Id: 100023, ConsulId: 100023, Name: "host_create", Status: "running"}}
		out.Size = 1
	}
	return out, nil
}

func (f fakeTasks) GetTask(_ context.Context, r *vmpb.GetTaskRequest) (*vmpb.GetTaskResponse, error) {
	t := &vmpb.Task{Id: r.GetId(), ConsulId: r.GetId(), Status: "failed", Output: `disk "error"`}
	return &vmpb.GetTaskResponse{Task: t, Id: t.GetId(), ConsulId: t.GetId(), Status: t.GetStatus(), Output: t.GetOutput()}, nil
}

type fakePools struct {
	ippb.UnimplementedPoolServiceServer
}

func (fakePools) GetPool(_ context.Context, r *ippb.GetPoolRequest) (*ippb.Pool, error) {
	return &ippb.Pool{Id: r.GetId(), Name: "error", Ipv4: &ippb.Fill{Total: 5}}, nil
}

func host(id int32) *vmpb.Host {
	return &vmpb.Host{
		Id: id, Name: fmt.Sprintf("vm-%d", id), State: "active", Domain: fmt.Sprintf("vm-%d.example.com", id),
		CpuNumber: 2, RamMib: 2048, Disk: &vmpb.HostDisk{Id: id, DiskMib: 10240, Name: "disk"}, DiskCount: 1,
		Cluster: &vmpb.HostCluster{Id: 1, Name: "main", DatacenterType: "common", VirtualizationType: "kvm"},
		Node:    &vmpb.HostNode{Id: 2, Name: "node-2", IpAddr: "192.0.2.2"},
		Account: &vmpb.HostAccount{Id: 4, Email: "user@example.com"},
		Os:      &vmpb.HostOS{Id: 1, Name: "Debian 12"}, OsName: "Debian 12", OsGroup: "debian",
		Ip4:        []*vmpb.HostAddress{{Ip: "198.51.100.9"}},
		Interfaces: []*vmpb.HostInterface{{HostInterface: "vnet0", Mac: "52:54:00:00:00:01", Bridge: "br0"}},
		CreateDate: "2026-01-01 00:00:00", InternalName: "5c0d", Tags: []string{"web"}, Task: wrapperspb.Int32(100023),
	}
}

func print(q *querypb.Query) string {
	return fmt.Sprintf("where[%s] order%v page[%d,%d]", where.Print(q.GetWhere()), len(q.GetOrderBy()), q.GetOffset(), q.GetLimit())
}

// conn is a connection that a test answers itself.
type conn func(ctx context.Context, method string, in, out any) error

func (c conn) Invoke(ctx context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	return c(ctx, method, in, out)
}

// NewStream returns a stream that takes all messages, and gets each answer as a call does.
func (c conn) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return stream{ctx: ctx, answer: func(out any) error { return c(ctx, method, nil, out) }}, nil
}

type stream struct {
	grpc.ClientStream
	ctx    context.Context //nolint:containedctx // a stream has one
	answer func(out any) error
}

func (s stream) Context() context.Context { return s.ctx }
func (stream) SendMsg(any) error          { return nil }
func (stream) CloseSend() error           { return nil }
func (s stream) RecvMsg(out any) error    { return s.answer(out) }
