package auth_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/service"
	"slipway.dev/services/auth"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	adminEmail    = "admin@example.com"
	adminPassword = "correct horse"
	masterKey     = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// world is one auth service and its callers.
type world struct {
	*auth.Service
	pool   *pgxpool.Pool
	bus    *bus.Bus
	tokens authpb.TokenServiceClient // as the gateway
	users  authpb.UserServiceClient  // as the gateway
	vm     authpb.UserServiceClient  // as vm
	keys   authpb.KeyServiceClient   // as the gateway
	set    authpb.SettingServiceClient

	sessions authpb.SessionServiceClient // as the gateway
	apikeys  authpb.APIKeyServiceClient
	keystone authpb.KeystoneServiceClient
}

func start(t testing.TB, now func() time.Time) *world {
	t.Helper()
	return startOn(t, pgtest.New(t), bustest.New(t), now)
}

func startOn(t testing.TB, pool *pgxpool.Pool, b *bus.Bus, now func() time.Time) *world {
	t.Helper()
	return startWith(t, pool, b, now, nil)
}

// startWith is startOn beside other services.
func startWith(t testing.TB, pool *pgxpool.Pool, b *bus.Bus, now func() time.Time, peers service.Peers) *world {
	t.Helper()
	s, err := auth.NewAt(t.Context(), auth.Config{AdminPassword: adminPassword, MasterKey: masterKey},
		service.Deps{Pool: pool, Bus: b, Log: slog.New(slog.DiscardHandler), Peers: peers}, now)
	if err != nil {
		t.Fatal(err)
	}
	gateway := s.Server().Local("gateway")
	return &world{
		s, pool, b, authpb.NewTokenServiceClient(gateway), authpb.NewUserServiceClient(gateway),
		authpb.NewUserServiceClient(s.Server().Local("vm")), authpb.NewKeyServiceClient(gateway),
		authpb.NewSettingServiceClient(gateway),
		authpb.NewSessionServiceClient(gateway), authpb.NewAPIKeyServiceClient(gateway), authpb.NewKeystoneServiceClient(gateway),
	}
}

// login opens a session from an address of its own choice.
func (w *world) login(t testing.TB, email, password, from string) (*authpb.Token, error) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "slipway-client-ip", from)
	return w.tokens.CreateSession(ctx, &authpb.CreateSessionRequest{Email: email, Password: password})
}

func (w *world) mustLogin(t testing.TB, email, password string) string {
	t.Helper()
	tok, err := w.login(t, email, password, "")
	if err != nil {
		t.Fatal(err)
	}
	return tok.GetToken()
}

// as is the context of a request that came with this token.
func (w *world) as(t testing.TB, token string) context.Context {
	t.Helper()
	in, err := w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, in.GetIdentity())
}

func (w *world) admin(t testing.TB) context.Context {
	t.Helper()
	text, err := w.AdminIdentity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, text)
}

// user makes an ordinary account and returns its id and a context of its own.
func (w *world) user(t testing.TB, email, role string) (int32, context.Context) {
	t.Helper()
	r, err := w.users.CreateUser(w.admin(t), &authpb.CreateUserRequest{Email: email, Password: "pw", Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetId(), w.as(t, w.mustLogin(t, email, "pw"))
}

func (w *world) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := w.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func (w *world) count(t testing.TB, sql string, args ...any) (n int) {
	t.Helper()
	if err := w.pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// wantFault demands a fault with this reason, and with this field when there is one.
func wantFault(t testing.TB, what string, err error, reason, field string) {
	t.Helper()
	f, ok := fault.From(err)
	if !ok || f.Reason != reason || field != "" && f.Field != field {
		t.Errorf("%s: %v (%+v), want %s on %q", what, err, f, reason, field)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	me, err := w.tokens.Whoami(w.as(t, w.mustLogin(t, adminEmail, adminPassword)), &authpb.WhoamiRequest{})
	if err != nil || me.GetEmail() != adminEmail || me.GetRoles()[0] != identity.RoleAdmin || !me.GetConfirmed() {
		t.Errorf("first administrator: %v %v", me, err)
	}
	// A second process: the same keys, no second administrator, and it needs no password for one.
	s, err := auth.New(t.Context(), auth.Config{MasterKey: masterKey}, service.Deps{Pool: w.pool, Bus: w.bus, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	text, err := w.AdminIdentity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, text)
	l, err := authpb.NewUserServiceClient(s.Server().Local("gateway")).ListUsers(ctx, &authpb.ListUsersRequest{})
	if err != nil || l.GetSize() != 1 {
		t.Errorf("the second process: %v %v", l, err)
	}
	if n := w.count(t, `SELECT count(*) FROM signing_key`); n != 1 {
		t.Errorf("%d signing keys", n)
	}
	_, err = auth.New(t.Context(), auth.Config{MasterKey: masterKey}, service.Deps{Pool: pgtest.New(t), Bus: w.bus, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Error("an empty installation without a password for its administrator must not start")
	}
	_, err = auth.New(t.Context(), auth.Config{}, service.Deps{Pool: w.pool, Bus: w.bus, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "SLIPWAY_AUTH_MASTER_KEY_FILE") {
		t.Errorf("without a master key: %v", err)
	}
}

func TestParallelStart(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	pool := pgtest.New(t)
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := auth.New(t.Context(), auth.Config{AdminPassword: adminPassword, MasterKey: masterKey},
				service.Deps{Pool: pool, Bus: w.bus, Log: slog.New(slog.DiscardHandler)})
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	w.pool = pool
	if n := w.count(t, `SELECT (SELECT count(*) FROM user_account) * 10 + (SELECT count(*) FROM signing_key)`); n != 11 {
		t.Errorf("accounts and keys: %d", n)
	}
}

// TestEvents: what happened to accounts and sessions reaches the bus.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	events := make(chan bus.Event, 10)
	ready := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() {
		done <- w.bus.Watch(ctx, []string{"auth.>"}, func(e bus.Event) { events <- e }, func() { close(ready) })
	}()
	<-ready
	go func() { done <- w.Run(ctx) }()

	id, user := w.user(t, "user@example.com", "")
	tok, err := w.tokens.CreateToken(user, &authpb.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.tokens.DeleteToken(user, &authpb.DeleteTokenRequest{Token: tok.GetToken()}); err != nil {
		t.Fatal(err)
	}
	var u authpb.UserChanged
	for _, email := range []string{adminEmail, "user@example.com"} {
		if e := <-events; e.Subject != "auth.v4.user.created" || e.Decode(&u) != nil || u.GetEmail() != email {
			t.Errorf("event %s %v", e.Subject, &u)
		}
	}
	var r authpb.SessionRevoked
	if e := <-events; e.Subject != "auth.v4.session.revoked" || e.Decode(&r) != nil || r.GetAccountId() != id || r.GetSessionId() == 0 {
		t.Errorf("event %s %v", e.Subject, &r)
	}
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
