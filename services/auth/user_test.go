package auth_test

import (
	"context"
	"crypto/ed25519"
	"slices"
	"strconv"
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
		"no width":       {"user@example.com\u200b", "pw", "", "INVALID_ARGUMENT", "email"},
		"right to left":  {"us\u202eer@example.com", "pw", "", "INVALID_ARGUMENT", "email"},
		"soft hyphen":    {"us\u00ader@example.com", "pw", "", "INVALID_ARGUMENT", "email"},
		"wide space":     {"us\u3000er@example.com", "pw", "", "INVALID_ARGUMENT", "email"},
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

// name is how a path names an account by its id.
func name(id int32) string { return strconv.Itoa(int(id)) }

func TestSSHKeys(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, user := w.user(t, "user@example.com", "")
	foreign, other := w.user(t, "other@example.com", "")
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	a, b := sshKey(t), sshKey(t)

	for _, r := range []*authpb.AddSSHKeyRequest{
		{Account: name(id), Name: "laptop", SshPubKey: a + " me@laptop  \n"},
		{Account: "User@example.com", SshPubKey: b + " me@desk"},
	} {
		if _, err := w.users.AddSSHKey(user, r); err != nil {
			t.Fatal(err)
		}
	}
	l, err := w.users.ListSSHKeys(user, &authpb.ListSSHKeysRequest{Account: name(id)})
	if err != nil || l.GetSize() != 2 || l.GetList()[0].GetName() != "laptop" || l.GetList()[0].GetSshPubKey() != a+" me@laptop" ||
		l.GetList()[1].GetName() != "me@desk" {
		t.Errorf("%v %v", l, err)
	}
	if of, err := w.vm.ListSSHKeysOf(t.Context(), &authpb.ListSSHKeysOfRequest{User: id}); err != nil || of.GetSize() != 2 {
		t.Errorf("%v %v", of, err)
	}
	if l, err := w.users.ListSSHKeys(reader, &authpb.ListSSHKeysRequest{Account: name(id)}); err != nil || l.GetSize() != 2 {
		t.Errorf("a read-only administrator: %v %v", l, err)
	}
	if _, err := w.users.AddSSHKey(w.admin(t), &authpb.AddSSHKeyRequest{Account: name(foreign), SshPubKey: a}); err != nil {
		t.Errorf("an administrator adds for another, who may have the same key: %v", err)
	}
	var texts []string
	for _, account := range []int32{id, 999} {
		_, err := w.users.ListSSHKeys(other, &authpb.ListSSHKeysRequest{Account: name(account)})
		wantFault(t, "foreign", err, "NOT_FOUND", "")
		texts = append(texts, err.Error())
		_, err = w.users.AddSSHKey(other, &authpb.AddSSHKeyRequest{Account: name(account), SshPubKey: a})
		wantFault(t, "foreign", err, "NOT_FOUND", "")
	}
	if texts[0] != texts[1] {
		t.Errorf("foreign and missing differ: %v", texts)
	}
	_, err = w.users.ListSSHKeys(w.admin(t), &authpb.ListSSHKeysRequest{Account: name(999)})
	wantFault(t, "missing", err, "NOT_FOUND", "")

	for what, tt := range map[string]struct{ key, reason string }{
		"twice":       {a + " another comment", "CONFLICT"},
		"nothing":     {" ", "INVALID_ARGUMENT"},
		"two":         {a + "\n" + sshKey(t), "INVALID_ARGUMENT"},
		"options":     {`command="rm -rf /" ` + sshKey(t), "INVALID_ARGUMENT"},
		"after junk":  {"# hello\n" + sshKey(t), "INVALID_ARGUMENT"},
		"no key":      {"ssh-ed25519 AAAA", "INVALID_ARGUMENT"},
		"private key": {"-----BEGIN OPENSSH PRIVATE KEY-----", "INVALID_ARGUMENT"},
	} {
		_, err := w.users.AddSSHKey(user, &authpb.AddSSHKeyRequest{Account: name(id), SshPubKey: tt.key})
		wantFault(t, what, err, tt.reason, "ssh_pub_key")
	}

	first := l.GetList()[0].GetId()
	_, err = w.users.DeleteSSHKey(other, &authpb.DeleteSSHKeyRequest{Account: name(id), Id: first})
	wantFault(t, "a foreign key goes", err, "NOT_FOUND", "")
	_, err = w.users.DeleteSSHKey(other, &authpb.DeleteSSHKeyRequest{Account: name(foreign), Id: first})
	wantFault(t, "a foreign key goes under the own name", err, "NOT_FOUND", "")
	_, err = w.users.DeleteSSHKey(reader, &authpb.DeleteSSHKeyRequest{Account: name(id), Id: first})
	wantFault(t, "a read-only administrator removes", err, "PERMISSION_DENIED", "")
	if _, err := w.users.DeleteSSHKey(user, &authpb.DeleteSSHKeyRequest{Account: "user@example.com", Id: first}); err != nil {
		t.Error(err)
	}
	_, err = w.users.DeleteSSHKey(user, &authpb.DeleteSSHKeyRequest{Account: name(id), Id: first})
	wantFault(t, "twice gone", err, "NOT_FOUND", "")
}

func TestFindUser(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, user := w.user(t, "user@example.com", "")
	other, _ := w.user(t, "other@example.com", "")
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	note := "pays late"
	if _, err := w.users.UpdateUser(w.admin(t), &authpb.UpdateUserRequest{Id: id, Note: &note}); err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		ctx  context.Context
		note string
	}{"itself": {user, ""}, "an administrator": {w.admin(t), note}, "a read-only administrator": {reader, note}} {
		for _, n := range []string{name(id), " User@EXAMPLE.com"} {
			u, err := w.users.FindUser(tt.ctx, &authpb.FindUserRequest{User: n})
			if err != nil || u.GetId() != id || u.GetEmail() != "user@example.com" || u.GetNote() != tt.note || u.GetTotp() || len(u.GetCreated()) != 19 {
				t.Errorf("%s as %s: %v %v", n, what, u, err)
			}
		}
	}
	texts := map[string]bool{}
	for _, n := range []string{name(other), "other@example.com", "999", "nobody@example.com", ""} {
		_, err := w.users.FindUser(user, &authpb.FindUserRequest{User: n})
		wantFault(t, "foreign or missing "+n, err, "NOT_FOUND", "")
		texts[err.Error()] = true
	}
	if len(texts) != 1 {
		t.Errorf("foreign and missing differ: %v", texts)
	}
}

func TestEditUser(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	text := func(s string) *string { return &s }
	r, err := w.users.CreateUser(w.admin(t), &authpb.CreateUserRequest{
		Email: "user@example.com", Password: "pw", FullName: "Ann Örn", Lang: "pt-BR", PhoneNumber: "+49 30 123456", Note: "vip\nsince 2020",
	})
	if err != nil {
		t.Fatal(err)
	}
	token := w.mustLogin(t, "user@example.com", "pw")
	if _, err := w.users.UpdateUser(w.admin(t), &authpb.UpdateUserRequest{Id: r.GetId(), Email: text("New@example.com"), PhoneNumber: text("")}); err != nil {
		t.Fatal(err)
	}
	user := w.as(t, token) // an edit ends nothing
	self := authpb.NewSelfServiceClient(w.Server().Local("gateway"))
	if _, err := self.UpdateSelf(user, &authpb.UpdateSelfRequest{FullName: text("Ann Oern")}); err != nil {
		t.Fatal(err)
	}
	u, err := w.users.FindUser(w.admin(t), &authpb.FindUserRequest{User: "new@example.com"})
	if err != nil || u.GetFullName() != "Ann Oern" || u.GetLang() != "pt-BR" || u.GetPhoneNumber() != "" || u.GetNote() != "vip\nsince 2020" ||
		!slices.Equal(u.GetRoles(), []string{identity.RoleUser}) {
		t.Errorf("%v %v", u, err)
	}
	_, err = w.login(t, "user@example.com", "pw", "")
	wantFault(t, "the old e-mail", err, "INVALID_PASSWORD", "")
	w.mustLogin(t, "new@example.com", "pw")

	for field, e := range map[string]*authpb.UpdateUserRequest{
		"roles":        {},
		"lang":         {Lang: text("<b>")},
		"phone_number": {PhoneNumber: text("call me")},
		"full_name":    {FullName: text("a\nb")},
		"note":         {Note: text(strings.Repeat("x", 1001))},
	} {
		e.Id = r.GetId()
		_, err := w.users.UpdateUser(w.admin(t), e)
		wantFault(t, field, err, "INVALID_ARGUMENT", field)
	}
	_, err = w.users.UpdateUser(w.admin(t), &authpb.UpdateUserRequest{Id: r.GetId(), Email: text(adminEmail)})
	wantFault(t, "somebody's e-mail", err, "CONFLICT", "email")
	_, err = w.users.UpdateUser(user, &authpb.UpdateUserRequest{Id: r.GetId(), FullName: text("x")})
	wantFault(t, "a user edits as administrators do", err, "PERMISSION_DENIED", "")
}
