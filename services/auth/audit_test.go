package auth_test

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"slipway.dev/proto/all"
	auditpb "slipway.dev/proto/audit/v1"
	authpb "slipway.dev/proto/auth/v4"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/outbox"
)

func (w *world) audit() authpb.AuditServiceClient {
	return authpb.NewAuditServiceClient(w.Server().Local("gateway"))
}

// records returns what was recorded, the oldest first, as "action result object by actor".
func (w *world) records(t testing.TB, where *querypb.Expr) []*authpb.AuditRecord {
	t.Helper()
	l, err := w.audit().ListAudit(w.admin(t), &authpb.ListAuditRequest{Query: &querypb.Query{
		Where: where, OrderBy: []*querypb.Order{{Field: "id"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return l.GetList()
}

func line(r *authpb.AuditRecord) string {
	_, action, _ := strings.Cut(r.GetAction(), "/")
	return strings.Join([]string{action, r.GetResult(), r.GetReason(), r.GetObjectType(), r.GetObjectId(), "by", strconv.Itoa(int(r.GetActorId()))}, " ")
}

// TestAudit: what is done, refused and tried is recorded, by whom and from where; reading is not.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, user := w.user(t, "user@example.com", "")
	admin := metadata.AppendToOutgoingContext(w.admin(t), "slipway-client-ip", "203.0.113.9", "x-request-id", "r1")
	calls := []error{
		errOf(w.users.SuspendUser(admin, &authpb.SuspendUserRequest{Id: id})),
		errOf(w.users.SuspendUser(admin, &authpb.SuspendUserRequest{Id: 999})),
		errOf(w.users.SuspendUser(user, &authpb.SuspendUserRequest{Id: 1})),
		errOf(w.login(t, "user@example.com", "wrong", "203.0.113.8")),
		errOf(w.login(t, "canary-typed-password", "wrong", "203.0.113.8")),
		errOf(w.users.SuspendUser(t.Context(), &authpb.SuspendUserRequest{Id: 1})), // no caller: no record
		errOf(w.users.ListUsers(admin, &authpb.ListUsersRequest{})),
		errOf(w.roles().CreateRole(admin, &authpb.CreateRoleRequest{Name: "r", Scopes: []string{"vms.read"}})),
	}
	for i, refused := range []bool{false, true, true, true, true, true, false, false} {
		if (calls[i] != nil) != refused {
			t.Errorf("call %d: %v", i, calls[i])
		}
	}
	list := w.records(t, nil)
	want := []string{
		"CreateUser ok  user 2 by 1",
		"CreateSession ok  user 2 by 2",
		"SuspendUser ok  user 2 by 1",
		"SuspendUser failed NOT_FOUND user 999 by 1",
		"SuspendUser denied PERMISSION_DENIED user 1 by 2",
		"CreateSession denied INVALID_PASSWORD user 2 by 2",
		"CreateSession denied INVALID_PASSWORD user 0 by 0",
		"CreateRole ok  role 5 by 1",
	}
	if len(list) != len(want) {
		t.Fatalf("%d records: %v", len(list), list)
	}
	for i, r := range list {
		if line(r) != want[i] {
			t.Errorf("record %d: %q, want %q", i, line(r), want[i])
		}
	}
	s := list[2]
	if s.GetActor() != adminEmail || s.GetClientIp() != "203.0.113.9" || s.GetRequestId() != "r1" || s.GetService() != "auth" ||
		!strings.HasPrefix(s.GetBefore(), `{"email":"user@example.com","full_name":"","lang":"","phone_number":"","roles":["@user"],"state":"active"`) ||
		!strings.Contains(s.GetAfter(), `"state":"suspended"`) {
		t.Errorf("%v", s)
	}
	if list[5].GetClientIp() != "203.0.113.8" || list[6].GetActor() != "" {
		t.Errorf("%v %v", list[5], list[6])
	}
	byResult := func(field, value string) int {
		e := &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: &querypb.Compare{Field: field, Operator: querypb.Operator_OPERATOR_EQ, Value: value}}}
		return len(w.records(t, e))
	}
	for field, tt := range map[string]struct {
		value string
		n     int
	}{
		"result": {"denied", 3}, "actor": {adminEmail, 4}, "object_type": {"role", 1}, "client_ip": {"203.0.113.8", 2}, "request_id": {"r1", 3},
		"action": {"auth.v4.UserService/SuspendUser", 3}, "object_id": {"999", 1},
	} {
		if n := byResult(field, tt.value); n != tt.n {
			t.Errorf("%s %s: %d records, want %d", field, tt.value, n, tt.n)
		}
	}
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	if err := errOf(w.audit().ListAudit(reader, &authpb.ListAuditRequest{})); err != nil {
		t.Error(err)
	}
	w.role(t, "own", false, "platform.audit.read")
	own, ctx := w.user(t, "own@example.com", "own")
	if l, err := w.audit().ListAudit(ctx, &authpb.ListAuditRequest{}); err != nil || l.GetSize() != 1 || l.GetList()[0].GetActorId() != own {
		t.Errorf("its own records: %v %v", l, err)
	}
	wantFault(t, "a user", errOf(w.audit().ListAudit(user, &authpb.ListAuditRequest{})), "PERMISSION_DENIED", "")
}

// TestAuditIsPartOfTheChange: without its record no change commits.
func TestAuditIsPartOfTheChange(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, _ := w.user(t, "user@example.com", "")
	w.exec(t, `ALTER TABLE audit ADD CONSTRAINT full_disk CHECK (action NOT LIKE '%SuspendUser')`)
	if err := errOf(w.users.SuspendUser(w.admin(t), &authpb.SuspendUserRequest{Id: id})); err == nil {
		t.Error("a change without a record")
	}
	if n := w.count(t, `SELECT count(*) FROM user_account WHERE state = 'suspended'`); n != 0 {
		t.Error("the change is there")
	}
}

// sealed waits until every record has its place in the chain.
func (w *world) sealed(t testing.TB) *authpb.VerifyAuditResponse {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		v, err := w.audit().VerifyAudit(w.admin(t), &authpb.VerifyAuditRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if v.GetUnsealed() == 0 {
			return v
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("unsealed: %v", v)
		}
	}
}

// TestAuditTampering checks that every change of the log by a superuser of the database is found.
func TestAuditTampering(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.watch(t)
	for _, email := range []string{"a@example.com", "b@example.com", "c@example.com"} {
		w.user(t, email, "")
	}
	v := w.sealed(t)
	if !v.GetIntact() || v.GetSeq() != "6" || len(v.GetHash()) != 64 {
		t.Fatalf("%v", v)
	}
	for _, sql := range []string{
		`UPDATE audit SET actor = 'x'`, `DELETE FROM audit`, `TRUNCATE audit`, `UPDATE audit_link SET seq = seq + 1`, `DELETE FROM audit_link`, `TRUNCATE audit_link`,
	} {
		if _, err := w.pool.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s was done", sql)
		}
	}
	if n := w.count(t, `
		SELECT count(*) FROM pg_class, aclexplode(relacl)
		WHERE oid IN ('audit'::regclass, 'audit_link'::regclass) AND privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')`); n != 0 {
		t.Errorf("%d privileges that nobody should have", n)
	}
	head := &authpb.VerifyAuditRequest{Seq: v.GetSeq(), Hash: v.GetHash()}
	verify := func(sql ...string) *authpb.VerifyAuditResponse {
		t.Helper()
		for _, s := range sql {
			w.exec(t, s)
		}
		v, err := w.audit().VerifyAudit(w.admin(t), head)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	// As a superuser would: without triggers.
	w.exec(t, `ALTER TABLE audit DISABLE TRIGGER ALL`)
	w.exec(t, `ALTER TABLE audit_link DISABLE TRIGGER ALL`)
	w.exec(t, `CREATE TABLE audit_was AS SELECT * FROM audit`)
	w.exec(t, `CREATE TABLE link_was AS SELECT * FROM audit_link`)
	restore := []string{
		`DELETE FROM audit`, `DELETE FROM audit_link`, `INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM audit_was`,
		`INSERT INTO audit_link SELECT * FROM link_was`,
	}
	if v := verify(restore...); !v.GetIntact() {
		t.Fatalf("restored: %v", v)
	}
	for sql, broken := range map[string]string{
		`UPDATE audit SET actor = 'somebody else' WHERE id = 3`:                "3",
		`UPDATE audit SET at = at + interval '1 microsecond' WHERE id = 2`:     "2",
		`UPDATE audit SET after = '{"x":1}' WHERE id = 5`:                      "5",
		`UPDATE audit SET before = '{}' WHERE id = 1`:                          "1",
		`UPDATE audit SET result = 'denied' WHERE id = 6`:                      "6",
		`DELETE FROM audit WHERE id = 4`:                                       "4",
		`DELETE FROM audit_link WHERE seq = 4`:                                 "",
		`DELETE FROM audit WHERE id = 6; DELETE FROM audit_link WHERE seq = 6`: "",
		`DELETE FROM audit; DELETE FROM audit_link`:                            "",
		`UPDATE audit_link SET hash = sha256('x') WHERE seq = 6`:               "6",
		`UPDATE audit_link SET audit_id = audit_id + 100; UPDATE audit_link SET audit_id = CASE seq WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE seq END`: "3",
		`INSERT INTO audit (at, service, action, actor_id, actor, session_id, object_type, object_id, result, reason, client_ip, request_id)
		 VALUES (now(), '', '', 0, '', 0, '', '', 'ok', '', '', '')`: strconv.Itoa(7),
	} {
		v := verify(strings.Split(sql, "; ")...)
		if v.GetIntact() || v.GetBroken() != broken || v.GetReason() == "" {
			t.Errorf("%s: %v", sql, v)
		}
		if v := verify(restore...); !v.GetIntact() {
			t.Fatalf("restored: %v", v)
		}
	}
	wantFault(t, "no hash", errOf(w.audit().VerifyAudit(w.admin(t), &authpb.VerifyAuditRequest{Seq: "1", Hash: "zz"})), "INVALID_ARGUMENT", "hash")
	wantFault(t, "no number", errOf(w.audit().VerifyAudit(w.admin(t), &authpb.VerifyAuditRequest{Seq: "x"})), "INVALID_ARGUMENT", "seq")
	other := &authpb.VerifyAuditRequest{Seq: "3", Hash: hex.EncodeToString(make([]byte, 32))}
	if v, err := w.audit().VerifyAudit(w.admin(t), other); err != nil || v.GetIntact() {
		t.Errorf("another head: %v %v", v, err)
	}
}

// TestAuditTakesEvents: records of other services join the chain, each once.
func TestAuditTakesEvents(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	if err := w.bus.EnsureStream(t.Context(), "vm"); err != nil {
		t.Fatal(err)
	}
	w.watch(t)
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The outbox of this very service serves as vm's.
	r := &auditpb.Record{Service: "auth", Action: "vm.v3.HostService/StartHost", ActorId: 4, ObjectType: "host", ObjectId: "7", Result: "ok"}
	if err := outbox.Emit(t.Context(), tx, "vm.v3.audit.recorded", "audit", r); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	host := &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: &querypb.Compare{Field: "object_type", Operator: querypb.Operator_OPERATOR_EQ, Value: "host"}}}
	taken := func() int { return len(w.records(t, host)) }
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for taken() == 0 {
		<-tick.C
	}
	w.exec(t, `UPDATE outbox SET sent_at = NULL`)
	w.exec(t, `DELETE FROM inbox`) // a database restored from a backup
	for w.count(t, `SELECT count(*) FROM outbox WHERE sent_at IS NULL`) > 0 {
		<-tick.C
	}
	if list := w.records(t, host); len(list) != 1 || list[0].GetService() != "vm" {
		t.Errorf("%v", list)
	}
	if v := w.sealed(t); !v.GetIntact() {
		t.Errorf("%v", v)
	}
}

// TestMutationsAreRecorded: every method of auth that changes something is one that the server records. The names are
// here so that no method of this kind is made by mistake.
func TestMutationsAreRecorded(t *testing.T) {
	t.Parallel()
	for _, m := range access.In(all.In("auth.v4")...) {
		_, name, _ := strings.Cut(strings.TrimPrefix(m.Name, "/"), "/")
		reads := strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List") || strings.HasPrefix(name, "Find") || name == "Whoami" || name == "Introspect" || name == "VerifyAudit" || name == "ValidateToken"
		if m.Mutates == reads {
			t.Errorf("%s: mutates %v", m.Name, m.Mutates)
		}
	}
}
