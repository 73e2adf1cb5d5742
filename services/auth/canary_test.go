package auth_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/service"
	"slipway.dev/services/auth"
)

// open are the fields of requests whose text is no secret. Any other field may be one: it must not turn up anywhere.
var open = []string{
	"email", "name", "description", "role", "roles", "scopes", "user", "value", "ssh_pub_key", "expires_at", "cidrs",
	"account", "full_name", "lang", "phone_number", "note",
}

const canary = "canary"

// TestSecretsStayInside: no secret that a client sends, or gets, is found in the audit log, in the log, in the outbox
// or on the bus. Every method of the service that changes something is called, also those that this test does not
// name.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	var logged lockedBuffer
	b := bustest.New(t)
	pool := pgtest.New(t)
	s, err := auth.New(t.Context(), auth.Config{AdminPassword: canary + "-admin", MasterKey: masterKey},
		service.Deps{Pool: pool, Bus: b, Log: slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	gateway := s.Server().Local("gateway")
	w := &world{
		Service: s, pool: pool, bus: b, tokens: authpb.NewTokenServiceClient(gateway), users: authpb.NewUserServiceClient(gateway),
		keys: authpb.NewKeyServiceClient(gateway),
	}
	events := w.watch(t)
	secrets := []string{canary}

	// What succeeds.
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	u, err := w.users.CreateUser(w.admin(t), &authpb.CreateUserRequest{Email: "user@example.com", Password: canary + "-1"})
	must(err)
	must(errOf(w.users.SetUserPassword(w.admin(t), &authpb.SetUserPasswordRequest{Id: u.GetId(), Password: canary + "-2"})))
	session := w.mustLogin(t, "user@example.com", canary+"-2")
	legacy, err := w.tokens.CreateLegacySession(t.Context(), &authpb.CreateLegacySessionRequest{Email: "user@example.com", Password: canary + "-2"})
	must(err)
	token, err := w.tokens.CreateToken(w.as(t, session), &authpb.CreateTokenRequest{})
	must(err)
	key, err := w.keys.CreateKey(w.admin(t), &authpb.CreateKeyRequest{User: "user@example.com"})
	must(err)
	redeemed, err := w.keys.RedeemKey(t.Context(), &authpb.RedeemKeyRequest{Key: key.GetKey()})
	must(err)
	for _, v := range []string{session, legacy.GetToken(), token.GetToken(), key.GetKey(), redeemed.GetToken()} {
		_, value, _ := strings.Cut(v, "-")
		secrets = append(secrets, value)
	}
	must(errOf(w.tokens.DeleteToken(w.as(t, session), &authpb.DeleteTokenRequest{Token: token.GetToken()})))
	_, err = w.login(t, "user@example.com", canary+"-wrong", "203.0.113.7")
	wantFault(t, "wrong password", err, "INVALID_PASSWORD", "")
	_, err = w.login(t, canary+"-typed-into-the-wrong-box", canary, "203.0.113.7")
	wantFault(t, "wrong box", err, "INVALID_PASSWORD", "")

	// Everything, with a canary wherever a secret could be.
	user, err := w.SignForTest(identity.Identity{AccountID: u.GetId(), Roles: []string{identity.RoleUser}, Revision: 1000})
	must(err)
	called := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("auth.v4", func(f protoreflect.FileDescriptor) bool {
		for _, m := range access.In(f) {
			if !m.Mutates {
				continue
			}
			for _, ctx := range []context.Context{
				t.Context(), metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, user), w.admin(t),
			} {
				ctx = metadata.AppendToOutgoingContext(ctx, "slipway-client-ip", "203.0.113.7")
				_ = gateway.Invoke(ctx, m.Name, filled(t, m.Name), reply(t, m.Name)) // refused or not, it must not leak
				called++
			}
		}
		return true
	})
	if called < 30 {
		t.Errorf("only %d calls", called)
	}
	must(errOf(w.users.CreateUser(w.admin(t), &authpb.CreateUserRequest{Email: "last@example.com", Password: canary, Role: identity.RoleUser})))

	found := map[string]string{"the log": logged.String()}
	for what, sql := range map[string]string{
		"the audit log": `SELECT coalesce(string_agg(audit::text, E'\n'), '') FROM audit`,
		"the outbox":    `SELECT coalesce(string_agg(encode(data, 'escape') || key, E'\n'), '') FROM outbox`,
	} {
		var text string
		if err := pool.QueryRow(t.Context(), sql).Scan(&text); err != nil || text == "" {
			t.Fatalf("%s: %q %v", what, text, err)
		}
		found[what] = text
	}
	for told := (bus.Event{}); !strings.Contains(string(told.Data), "last@example.com"); {
		told = <-events
		found["the bus"] += string(told.Data) + told.Key + "\n"
	}
	for where, text := range found {
		for i, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("secret %d is in %s: …%s…", i, where, text[max(0, at-200):min(len(text), at+40)])
			}
		}
	}
}

// filled is a request of a method with a canary in every text that is not known to be open.
func filled(t *testing.T, method string) protoreflect.ProtoMessage {
	t.Helper()
	m := message(t, method, protoreflect.MethodDescriptor.Input)
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		switch {
		case fd.Kind() == protoreflect.Int32Kind && !fd.IsList():
			m.Set(fd, protoreflect.ValueOfInt32(2))
		case fd.Kind() == protoreflect.StringKind && !fd.IsList() && slices.Contains(open, string(fd.Name())):
			m.Set(fd, protoreflect.ValueOfString(map[string]string{"email": "user@example.com", "user": "2", "account": "2", "role": "@user"}[string(fd.Name())]))
		case fd.Kind() == protoreflect.StringKind && !fd.IsList():
			m.Set(fd, protoreflect.ValueOfString(fmt.Sprintf("2-%s-%s", canary, fd.Name())))
		}
	}
	return m.Interface()
}

func reply(t *testing.T, method string) protoreflect.ProtoMessage {
	t.Helper()
	return message(t, method, protoreflect.MethodDescriptor.Output).Interface()
}

func message(t *testing.T, method string, side func(protoreflect.MethodDescriptor) protoreflect.MessageDescriptor) protoreflect.Message {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")))
	if err != nil {
		t.Fatal(err)
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(side(d.(protoreflect.MethodDescriptor)).FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
