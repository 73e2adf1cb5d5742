package auth_test

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	authpb "slipway.dev/proto/auth/v4"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/identity"
)

func compare(field string, op querypb.Operator, value string) *querypb.Expr {
	return &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: &querypb.Compare{Field: field, Operator: op, Value: value}}}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, user := w.user(t, "User@Example.com", "")
	w.user(t, "second@example.com", identity.RoleReadOnlyAdmin)
	admin := w.admin(t)

	l, err := w.users.ListUsers(admin, &authpb.ListUsersRequest{Query: &querypb.Query{
		Where:   compare("roles", querypb.Operator_OPERATOR_CP, "%@admin%"),
		OrderBy: []*querypb.Order{{Field: "email", Descending: true}}, Limit: 1,
	}})
	if err != nil || l.GetSize() != 2 || len(l.GetList()) != 1 || l.GetList()[0].GetEmail() != "second@example.com" || l.GetLastNotify() == 0 {
		t.Errorf("administrators: %v %v", l, err)
	}
	none, err := w.users.ListUsers(admin, &authpb.ListUsersRequest{Query: &querypb.Query{
		Where: compare("state", querypb.Operator_OPERATOR_EQ, "suspended"),
	}})
	if err != nil || none.GetSize() != 0 {
		t.Errorf("suspended: %v %v", none, err)
	}
	w.user(t, "third@example.com", identity.RoleAdvancedUser)
	if more, err := w.users.ListUsers(admin, &authpb.ListUsersRequest{}); err != nil || more.GetLastNotify() <= l.GetLastNotify() {
		t.Errorf("last_notify did not grow: %v, was %v (%v)", more.GetLastNotify(), l.GetLastNotify(), err)
	}
	_, err = w.users.ListUsers(user, &authpb.ListUsersRequest{})
	wantFault(t, "a user lists", err, "PERMISSION_DENIED", "")
	_, err = w.users.CreateUser(user, &authpb.CreateUserRequest{Email: "x@example.com", Password: "pw", Role: "@admin"})
	wantFault(t, "a user makes an administrator", err, "PERMISSION_DENIED", "")

	for _, r := range []*authpb.GetUserRequest{{Id: id}, {Email: " user@example.COM"}} {
		u, err := w.vm.GetUser(t.Context(), r)
		if err != nil || u.GetId() != id || u.GetEmail() != "user@example.com" || u.GetState() != "active" || u.GetAuthSource() != "local" {
			t.Errorf("%v: %v %v", r, u, err)
		}
	}
	_, err = w.vm.GetUser(t.Context(), &authpb.GetUserRequest{Id: 99})
	wantFault(t, "unknown", err, "NOT_FOUND", "")

	for name, tt := range map[string]struct{ email, password, role, reason, field string }{
		"twice":          {"USER@example.com", "pw", "", "CONFLICT", "email"},
		"no e-mail":      {"", "pw", "", "INVALID_ARGUMENT", "email"},
		"no domain":      {"user", "pw", "", "INVALID_ARGUMENT", "email"},
		"display name":   {"U <u@example.com>", "pw", "", "INVALID_ARGUMENT", "email"},
		"two":            {"a@example.com, b@example.com", "pw", "", "INVALID_ARGUMENT", "email"},
		"header":         {"a@example.com\r\nBcc: b@example.com", "pw", "", "INVALID_ARGUMENT", "email"},
		"quoted":         {`"a b"@example.com`, "pw", "", "INVALID_ARGUMENT", "email"},
		"long e-mail":    {strings.Repeat("a", 250) + "@example.com", "pw", "", "INVALID_ARGUMENT", "email"},
		"no password":    {"n@example.com", "", "", "INVALID_ARGUMENT", "password"},
		"long password":  {"n@example.com", strings.Repeat("ä", 129), "", "INVALID_ARGUMENT", "password"},
		"role":           {"n@example.com", "pw", "@root", "INVALID_ARGUMENT", "role"},
		"role of a case": {"n@example.com", "pw", "@Admin", "INVALID_ARGUMENT", "role"},
	} {
		_, err := w.users.CreateUser(admin, &authpb.CreateUserRequest{Email: tt.email, Password: tt.password, Role: tt.role})
		wantFault(t, name, err, tt.reason, tt.field)
	}
}

func sshKey(t *testing.T) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

func TestSSHKeys(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, user := w.user(t, "user@example.com", "")
	foreign, other := w.user(t, "other@example.com", "")
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	a, b := sshKey(t), sshKey(t)

	for _, r := range []*authpb.AddSSHKeyRequest{
		{User: id, Name: "laptop", SshPubKey: a + " me@laptop  \n"},
		{User: id, SshPubKey: b + " me@desk"},
	} {
		if _, err := w.users.AddSSHKey(user, r); err != nil {
			t.Fatal(err)
		}
	}
	l, err := w.users.ListSSHKeys(user, &authpb.ListSSHKeysRequest{User: id})
	if err != nil || l.GetSize() != 2 || l.GetList()[0].GetName() != "laptop" || l.GetList()[0].GetSshPubKey() != a+" me@laptop" ||
		l.GetList()[1].GetName() != "me@desk" {
		t.Errorf("%v %v", l, err)
	}
	if of, err := w.vm.ListSSHKeysOf(t.Context(), &authpb.ListSSHKeysOfRequest{User: id}); err != nil || of.GetSize() != 2 {
		t.Errorf("%v %v", of, err)
	}
	if l, err := w.users.ListSSHKeys(reader, &authpb.ListSSHKeysRequest{User: id}); err != nil || l.GetSize() != 2 {
		t.Errorf("a read-only administrator: %v %v", l, err)
	}
	if _, err := w.users.AddSSHKey(w.admin(t), &authpb.AddSSHKeyRequest{User: foreign, SshPubKey: a}); err != nil {
		t.Errorf("an administrator adds for another, who may have the same key: %v", err)
	}
	var texts []string
	for _, account := range []int32{id, 999} {
		_, err := w.users.ListSSHKeys(other, &authpb.ListSSHKeysRequest{User: account})
		wantFault(t, "foreign", err, "NOT_FOUND", "")
		texts = append(texts, err.Error())
		_, err = w.users.AddSSHKey(other, &authpb.AddSSHKeyRequest{User: account, SshPubKey: a})
		wantFault(t, "foreign", err, "NOT_FOUND", "")
	}
	if texts[0] != texts[1] {
		t.Errorf("foreign and missing differ: %v", texts)
	}
	_, err = w.users.ListSSHKeys(w.admin(t), &authpb.ListSSHKeysRequest{User: 999})
	wantFault(t, "missing", err, "NOT_FOUND", "")

	for name, tt := range map[string]struct{ key, reason string }{
		"twice":       {a + " another comment", "CONFLICT"},
		"nothing":     {" ", "INVALID_ARGUMENT"},
		"two":         {a + "\n" + sshKey(t), "INVALID_ARGUMENT"},
		"options":     {`command="rm -rf /" ` + sshKey(t), "INVALID_ARGUMENT"},
		"after junk":  {"# hello\n" + sshKey(t), "INVALID_ARGUMENT"},
		"no key":      {"ssh-ed25519 AAAA", "INVALID_ARGUMENT"},
		"private key": {"-----BEGIN OPENSSH PRIVATE KEY-----", "INVALID_ARGUMENT"},
	} {
		_, err := w.users.AddSSHKey(user, &authpb.AddSSHKeyRequest{User: id, SshPubKey: tt.key})
		wantFault(t, name, err, tt.reason, "ssh_pub_key")
	}
}
