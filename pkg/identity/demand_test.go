package identity

import "testing"

// TestFor checks the access of every kind of caller to every kind of method.
func TestFor(t *testing.T) {
	t.Parallel()
	const (
		no   = "refused"
		own  = "own objects"
		all  = "all objects"
		read = "vms.read"
	)
	show := Demand{Scope: read, Read: true}
	change := Demand{Scope: "vms.write"}
	administer := Demand{Scope: "users.write", Admin: true}
	inspect := Demand{Scope: "users.read", Admin: true, Read: true}
	self := Demand{Scope: ScopeSelf, Read: true}
	role := func(roles ...string) Identity { return Identity{Roles: roles} }
	only := func(i Identity, scopes ...string) Identity {
		i.Limited, i.Only = true, scopes
		return i
	}
	support := Identity{Roles: []string{"support"}, GrantsAll: []string{read}, Grants: []string{"vms.write"}}
	for name, tt := range map[string]struct {
		who                                       Identity
		show, change, administer, inspect, itself string
	}{
		"administrator":             {role(RoleAdmin), all, all, all, all, all},
		"read-only administrator":   {role(RoleReadOnlyAdmin), all, no, no, all, own},
		"read-only administrator+":  {role(RoleReadOnlyAdmin, RoleUser), all, own, no, all, own},
		"user":                      {role(RoleUser), own, own, no, no, own},
		"advanced user":             {role(RoleAdvancedUser), own, own, no, no, own},
		"no role":                   {role(), no, no, no, no, own},
		"custom role":               {support, all, own, no, no, own},
		"limited administrator":     {only(role(RoleAdmin), read), all, no, no, no, all},
		"limited user":              {only(role(RoleUser), read, "users.write"), own, no, no, no, own},
		"limited to nothing":        {only(role(RoleAdmin)), no, no, no, no, all},
		"limited beyond its grants": {only(support, "vms.write", "users.write"), no, own, no, no, own},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, want := range []string{tt.show, tt.change, tt.administer, tt.inspect, tt.itself} {
				d := []Demand{show, change, administer, inspect, self}[i]
				got := no
				if n, ok := tt.who.For(d); ok && n.ReachesAll() {
					got = all
				} else if ok {
					got = own
				}
				if got != want {
					t.Errorf("%s: %s, want %s", d.Scope, got, want)
				}
			}
		})
	}
}
