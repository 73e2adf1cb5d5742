package ip_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/service"
	"slipway.dev/services/ip"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// keys is the auth service as far as this one needs it.
type keys struct {
	authpb.UnimplementedTokenServiceServer
	pub ed25519.PublicKey
}

func (k keys) ListKeys(context.Context, *authpb.ListKeysRequest) (*authpb.ListKeysResponse, error) {
	return &authpb.ListKeysResponse{Keys: []*authpb.PublicKey{{Id: "k", Key: k.pub}}}, nil
}

// world is one ip service and its callers.
type world struct {
	*ip.Service
	pool      *pgxpool.Pool
	bus       *bus.Bus
	signer    *identity.Signer
	networks  ippb.NetworkServiceClient // as the gateway
	pools     ippb.PoolServiceClient    // as the gateway
	list      ippb.AddressServiceClient // as the gateway
	addresses ippb.AddressServiceClient // as vm
	vmPools   ippb.PoolServiceClient    // as vm
	settings  ippb.SettingServiceClient // as the gateway
}

func start(t testing.TB) *world {
	t.Helper()
	return startWith(t, ip.Config{})
}

func startWith(t testing.TB, cfg ip.Config) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b := bustest.New(t)
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	auth := rpc.NewServer(log, nil)
	authpb.RegisterTokenServiceServer(auth, keys{pub: pub})
	pool := pgtest.New(t)
	s, err := ip.New(t.Context(), cfg, service.Deps{
		Pool: pool, Bus: b, Log: log, Peers: service.Peers{"auth": auth.Local("ip")},
	})
	if err != nil {
		t.Fatal(err)
	}
	gateway, vm := s.Server().Local("gateway"), s.Server().Local("vm")
	return &world{
		s, pool, b, identity.NewSigner("k", priv), ippb.NewNetworkServiceClient(gateway), ippb.NewPoolServiceClient(gateway),
		ippb.NewAddressServiceClient(gateway), ippb.NewAddressServiceClient(vm), ippb.NewPoolServiceClient(vm),
		ippb.NewSettingServiceClient(gateway),
	}
}

// as is the context of a request by an account with this role.
func (w *world) as(t testing.TB, role string) context.Context {
	t.Helper()
	text, err := w.signer.Sign(identity.Identity{AccountID: 1, Roles: []string{role}, Expires: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, text)
}

func (w *world) admin(t testing.TB) context.Context { return w.as(t, identity.RoleAdmin) }

func (w *world) network(t testing.TB, cidr string) int32 {
	t.Helper()
	r, err := w.networks.CreateNetwork(w.admin(t), &ippb.CreateNetworkRequest{Name: cidr})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetId()
}

// newPool makes a pool of cluster 1 with these ranges.
func (w *world) newPool(t testing.TB, name string, ranges ...string) int32 {
	t.Helper()
	r, err := w.pools.CreatePool(w.admin(t), &ippb.CreatePoolRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range ranges {
		w.addRange(t, r.GetId(), text)
	}
	_, err = w.vmPools.SetPoolClusters(t.Context(), &ippb.SetPoolClustersRequest{
		PoolId: r.GetId(), Clusters: []*ippb.PoolCluster{{Id: 1, Interface: 2, Name: "main"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetId()
}

func (w *world) addRange(t testing.TB, pool int32, text string) int32 {
	t.Helper()
	r, err := w.pools.AddRange(w.admin(t), &ippb.AddRangeRequest{Id: pool, Name: text})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r.GetId()
}

// run runs the service until the end of the test.
func (w *world) run(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// watch returns the events with this subject that are emitted from now on.
func (w *world) watch(t testing.TB, subject string) <-chan bus.Event {
	t.Helper()
	events, ready, done := make(chan bus.Event, 100), make(chan struct{}), make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		err := w.bus.Watch(ctx, []string{"ip.>"}, func(e bus.Event) {
			if e.Subject == subject {
				events <- e
			}
		}, func() { close(ready) })
		if err != nil {
			t.Error(err)
		}
	}()
	<-ready
	t.Cleanup(func() { stop(); <-done })
	return events
}

// await waits until missing returns "".
func (w *world) await(t testing.TB, missing func() string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) { // between two looks
		m := missing()
		if m == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(m)
		}
	}
}

func (w *world) fill(t testing.TB, pool int32) (ipv4, ipv6 string) {
	t.Helper()
	p, err := w.pools.GetPool(w.admin(t), &ippb.GetPoolRequest{Id: pool})
	if err != nil {
		t.Fatal(err)
	}
	show := func(f *ippb.Fill) string {
		if f == nil {
			return "null"
		}
		return fmt.Sprintf("%d/%d", f.GetUsed(), f.GetTotal())
	}
	return show(p.GetIpv4()), show(p.GetIpv6())
}

func (w *world) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := w.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func newOwner() string { return uuid.NewString() }

// reserve4 reserves n IPv4 addresses for a new owner.
func (w *world) reserve4(t testing.TB, n int32) (owner string, ips []string) {
	t.Helper()
	owner = newOwner()
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: n})
	if err != nil {
		t.Fatal(err)
	}
	return owner, texts(r)
}

// giveBackUsed confirms what an owner has reserved, then gives it back.
func (w *world) giveBackUsed(t testing.TB, owner string) {
	t.Helper()
	if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
}

func texts(r *ippb.ReserveResponse) []string {
	list := []string{}
	for _, a := range r.GetAddresses() {
		list = append(list, a.GetIpAddr())
	}
	return list
}

// wantFault demands a fault with this reason, and with this field when there is one.
func wantFault(t testing.TB, what string, err error, reason, field string) {
	t.Helper()
	f, ok := fault.From(err)
	if !ok || f.Reason != reason || field != "" && f.Field != field {
		t.Errorf("%s: %v (%+v), want %s on %q", what, err, f, reason, field)
	}
}

// not is a query of the rows whose field has another value.
func not(field, value string) *querypb.Query {
	q := where(field, value)
	q.Where.GetCompare().Operator = querypb.Operator_OPERATOR_NE
	return q
}

func where(field, value string) *querypb.Query {
	return &querypb.Query{Where: &querypb.Expr{Kind: &querypb.Expr_Compare{
		Compare: &querypb.Compare{Field: field, Operator: querypb.Operator_OPERATOR_EQ, Value: value},
	}}}
}
