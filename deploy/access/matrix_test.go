package access

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/identity"
)

// route is one path of a method.
type route struct {
	verb, path string
	access.Method
}

// routes lists the paths of all linked services, whether or not a gateway serves them.
func routes() []route {
	var all []route
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for _, m := range access.In(f) {
			for _, r := range m.Routes {
				verb, path, _ := strings.Cut(r, " ")
				all = append(all, route{verb, path, m})
			}
		}
		return true
	})
	slices.SortFunc(all, func(a, b route) int { return strings.Compare(a.path+a.verb, b.path+b.verb) })
	return all
}

// persona is a kind of caller.
type persona struct {
	name  string
	email string
	token string
	// who is the persona's expected identity; nil for a caller without an account.
	who *identity.Identity
	// objects are those that belong to it, by kind.
	objects map[string]string
}

// owned are the kinds of objects that belong to an account, by the word before their id in the path.
var owned = []string{"host", "task", "account", "token", "session", "user"}

// stage is a world with a caller of every kind, and objects of two of them.
type stage struct {
	*world
	personas []persona
	foreign  map[string]string // objects of one who is none of the personas
	named    map[string]string // objects without an account
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{world: build(t, 1), named: map[string]string{"setting": "token_ttl", "catalogue": "none", "settings/task": "os_import"}}
	s.withNode()
	admin := s.login(adminEmail)
	s.withAddresses(admin)
	role := func(name string, all bool, scope string) {
		s.do("POST", "/auth/v4/role", admin, fmt.Sprintf(`{"name":%q,"scopes":[%q],"all":%v}`, name, scope, all))
	}
	role("watcher", true, "vms.read")
	role("starter", false, "vms.power")
	role("helper", true, "users.*")
	s.personas = []persona{{name: "nobody"}, {
		name: "administrator", email: adminEmail, token: admin, who: &identity.Identity{Roles: []string{identity.RoleAdmin}},
	}}
	known := access.Scopes(access.Demands(all(routes())))
	for _, p := range []struct{ name, role string }{
		{"user", "@user"},
		{"advanced user", "@advanced_user"},
		{"reader", "@admin.readonly"},
		{"watcher", "watcher"},
		{"starter", "starter"},
		{"helper", "helper"},
	} {
		email := strings.ReplaceAll(p.name, " ", "-") + "@example.com"
		id, token := s.user(admin, email, p.role)
		who := &identity.Identity{Roles: []string{p.role}}
		switch p.role {
		case "watcher":
			who.GrantsAll = []string{"vms.read"}
		case "starter":
			who.Grants = []string{"vms.power"}
		case "helper":
			who.GrantsAll, _ = access.Expand([]string{"users.*"}, known)
		}
		s.personas = append(s.personas, persona{p.name, email, token, who, s.belongings(admin, id)})
	}
	limited := s.do("POST", "/auth/v4/apikey", admin, `{"name":"limited","scopes":["vms.read"]}`)["key"].(string)
	s.personas = append(s.personas, persona{
		name: "limited", token: limited, who: &identity.Identity{Roles: []string{identity.RoleAdmin}, Limited: true, Only: []string{"vms.read"}},
	})
	id, _ := s.user(admin, "stranger@example.com", "@user")
	s.foreign = s.belongings(admin, id)
	_, err := s.vmDB.Exec(t.Context(), fmt.Sprintf(
		`INSERT INTO account SELECT id, email, roles, state FROM %s.user_account ON CONFLICT DO NOTHING`, s.schemas["auth"]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// belongings gives an account one object of each kind.
func (s *stage) belongings(admin string, account int) map[string]string {
	s.Helper()
	host := s.do("POST", "/vm/v3/host", admin, fmt.Sprintf(`{"name":"h%d","os":1,"account":%d,"password":"x","cluster":1}`, account, account))
	var token string
	if err := s.authDB.QueryRow(s.Context(), `SELECT max(id)::text FROM token WHERE account_id = $1`, account).Scan(&token); err != nil {
		s.Fatal(err)
	}
	id := strconv.Itoa(account)
	return map[string]string{
		"host": fmt.Sprint(host["id"]), "task": fmt.Sprintf("%.0f", host["task"]), "account": id, "user": id, "token": token, "session": token,
	}
}

func all(list []route) []access.Method {
	var methods []access.Method
	for _, r := range list {
		methods = append(methods, r.Method)
	}
	return methods
}

var variable = regexp.MustCompile(`((?:settings/)?[a-z_]+)/\{[a-z_]+\}`)

// kind is the word before the id in the path, with the word "settings" before it; "" when there is no id.
func (r route) kind() string {
	if m := variable.FindStringSubmatch(r.path); m != nil {
		return m[1]
	}
	return ""
}

// at is the path with this id.
func (r route) at(id string) string {
	head, rest, _ := strings.Cut(r.path, "{")
	_, tail, ok := strings.Cut(rest, "}")
	if !ok {
		return r.path
	}
	return head + id + regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(tail, "1")
}

// none is an id as long as id that nothing has.
func none(id string) string { return strings.Repeat("9", max(len(id), 1)) }

// blank replaces the id that was asked for, so that answers about two ids can be compared.
func (a answer) blank(id string) answer {
	a.body = regexp.MustCompile(`\b`+regexp.QuoteMeta(id)+`\b`).ReplaceAllString(a.body, strings.Repeat("#", len(id)))
	return a
}

// refusals looks for grants that should not be: it asks in vain wherever nothing may come of it. It returns what did.
func (s *stage) refusals(list []route) (problems []string, probes int) {
	report := func(p persona, r route, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s: %s %s: ", p.name, r.verb, r.path)+fmt.Sprintf(format, args...))
	}
	for _, p := range s.personas {
		for _, r := range list {
			ask := func(id string) answer {
				probes++
				return s.send(0, r.verb, r.at(id), p.token, "{}").blank(id)
			}
			foreign := s.foreign[r.kind()]
			if foreign == "" {
				foreign = "1"
			}
			switch {
			case r.Level == accesspb.Level_LEVEL_PUBLIC:
			case p.who == nil:
				if a := ask(foreign); a.code != http.StatusUnauthorized || a != ask(none(foreign)) {
					report(p, r, "%+v", a)
				}
			case r.Demand.Scope != identity.ScopeSelf && access.ReachOf(*p.who, r.Demand) == access.Nowhere:
				if a := ask(foreign); a.code != http.StatusForbidden || a != ask(none(foreign)) {
					report(p, r, "%+v", a)
				}
			case access.ReachOf(*p.who, r.Demand) == access.Own && slices.Contains(owned, r.kind()):
				a, b := ask(foreign), ask(none(foreign))
				if a != b || a.code != http.StatusNotFound && a.code != http.StatusBadRequest {
					report(p, r, "foreign %+v, missing %+v", a, b)
				}
			}
		}
	}
	return problems, probes
}

// lists looks into lists for what is foreign.
func (s *stage) lists(list []route) (problems []string, probes int) {
	for _, p := range s.personas {
		for _, r := range list {
			if p.who == nil || r.verb != http.MethodGet || r.kind() != "" || access.ReachOf(*p.who, r.Demand) != access.Own {
				continue
			}
			for _, where := range []string{"", "?where=id+GT+0", "?where=((id+GT+0)+OR+(id+LT+0))", "?limit=0,1000&orderby=id+desc"} {
				probes++
				a := s.send(0, r.verb, r.path+where, p.token, "")
				if strings.Contains(a.body, "stranger@") || strings.Contains(a.body, `"h`+s.foreign["account"]+`"`) {
					problems = append(problems, fmt.Sprintf("%s: %s%s: %s", p.name, r.path, where, a.body))
				}
			}
		}
	}
	return problems, probes
}

// grants looks for refusals that should not be.
func (s *stage) grants(list []route) (problems []string) {
	for _, p := range s.personas {
		for _, r := range list {
			if p.who == nil || r.Level == accesspb.Level_LEVEL_PUBLIC || r.Demand.Scope != identity.ScopeSelf && access.ReachOf(*p.who, r.Demand) == access.Nowhere {
				continue
			}
			token := p.token
			if r.verb == http.MethodDelete && r.Demand.Scope == identity.ScopeSelf {
				if p.email == "" {
					continue
				}
				token = s.login(p.email) // it logs itself out
			}
			id := s.named[r.kind()]
			if id == "" {
				id = none("1000")
			}
			if a := s.send(0, r.verb, r.at(id), token, "{}"); a.refused() || a.code >= http.StatusInternalServerError {
				problems = append(problems, fmt.Sprintf("%s: %s %s: %+v", p.name, r.verb, r.path, a))
			}
			own := p.objects[r.kind()]
			if own == "" || r.verb != http.MethodGet {
				continue
			}
			if a := s.send(0, r.verb, r.at(own), token, ""); a.code != http.StatusOK && a.code != http.StatusServiceUnavailable { // there is no agent for a console
				problems = append(problems, fmt.Sprintf("%s: its own %s: %+v", p.name, r.path, a))
			}
		}
	}
	return problems
}

// state is a digest of all that a call could change.
func (s *stage) state() string {
	s.Helper()
	var text strings.Builder
	for table, columns := range map[string]string{
		s.schemas["auth"] + ".user_account": "t", s.schemas["auth"] + ".role": "t", s.schemas["auth"] + ".ssh_key": "t", s.schemas["auth"] + ".setting": "t",
		s.schemas["auth"] + ".login_key": "t", s.schemas["auth"] + ".token": "(t.id, t.account_id)", s.schemas["vm"] + ".host": "t", s.schemas["vm"] + ".os": "t",
		s.schemas["vm"] + ".job": "(t.id)",
	} {
		var sum string
		err := s.authDB.QueryRow(s.Context(), fmt.Sprintf(`SELECT md5(coalesce(string_agg(%s::text, '|' ORDER BY t.id), '')) FROM %s t`, columns, table)).Scan(&sum)
		if strings.HasSuffix(table, ".setting") || strings.HasSuffix(table, ".login_key") {
			err = s.authDB.QueryRow(s.Context(), fmt.Sprintf(`SELECT count(*)::text FROM %s`, table)).Scan(&sum)
		}
		if err != nil {
			s.Fatal(table, err)
		}
		text.WriteString(table + " " + sum + "\n")
	}
	lines := strings.Split(text.String(), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestMatrix calls every route as every persona, for own, foreign and missing objects.
func TestMatrix(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	list := routes()
	if len(list) < 80 {
		t.Fatalf("only %d routes", len(list))
	}
	before := s.state()
	problems, probes := s.refusals(list)
	leaks, more := s.lists(list)
	for _, p := range append(problems, leaks...) {
		t.Error(p)
	}
	if after := s.state(); after != before {
		t.Errorf("what was refused had an effect:\n%s\n%s", before, after)
	}
	if probes += more; probes < 1000 {
		t.Errorf("only %d probes", probes)
	}
	for _, p := range s.grants(list) {
		t.Error(p)
	}

	// The checker itself: it must find a hole where there is one.
	plant := func(what, method string, change func(*route)) {
		planted := slices.Clone(list)
		found := false
		for i := range planted {
			if strings.HasSuffix(planted[i].Name, method) {
				change(&planted[i])
				found = true
			}
		}
		problems, _ := s.refusals(planted)
		if !found || len(problems) == 0 {
			t.Errorf("%s: not noticed", what)
		}
	}
	plant("an administrator's method that lets users in", "/ListHosts", func(r *route) { r.Demand.Admin, r.Demand.Scope = true, "canary.read" })
	plant("a public method that should ask who calls", "/CreateSession", func(r *route) { r.Level = accesspb.Level_LEVEL_USER })
	plant("a method whose scope nobody has", "/ListTokens", func(r *route) { r.Demand.Scope, r.Demand.Admin = "canary.read", true })
	user := s.personas[slices.IndexFunc(s.personas, func(p persona) bool { return p.name == "user" })]
	foreign := s.foreign
	s.foreign = user.objects // now what is foreign to the others is the user's: to the user, as if a foreign object were shown
	if problems, _ := s.refusals(list); len(problems) == 0 {
		t.Error("a foreign object that is shown: not noticed")
	}
	s.foreign = foreign
}

// TestOwnMutations: what is refused above for foreign objects works for one's own.
func TestOwnMutations(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, name := range []string{"user", "advanced user", "starter"} {
		p := s.personas[slices.IndexFunc(s.personas, func(p persona) bool { return p.name == name })]
		var last []route
		for _, r := range routes() {
			if p.objects[r.kind()] == "" || r.verb == http.MethodGet || access.ReachOf(*p.who, r.Demand) != access.Own ||
				r.kind() == "token" || r.kind() == "session" || strings.Count(r.path, "{") > 1 {
				continue
			}
			if r.verb == http.MethodDelete {
				last = append(last, r)
				continue
			}
			if a := s.send(0, r.verb, r.at(p.objects[r.kind()]), p.token, "{}"); a.refused() || a.code == http.StatusNotFound ||
				a.code >= 500 && a.code != http.StatusServiceUnavailable { // there is no agent for an upload
				t.Errorf("%s: %s %s: %+v", name, r.verb, r.path, a)
			}
		}
		for _, r := range last {
			if a := s.send(0, r.verb, r.at(p.objects[r.kind()]), p.token, "{}"); a.code != http.StatusOK {
				t.Errorf("%s: %s %s: %+v", name, r.verb, r.path, a)
			}
		}
	}
}

// TestScopesAreKnown: auth can grant every scope that a method of any service demands, and lists every route with a scope.
func TestScopesAreKnown(t *testing.T) {
	t.Parallel()
	w := build(t, 1)
	calls := map[string][]any{}
	for _, item := range w.do("GET", "/auth/v4/scope", w.login(adminEmail), "")["list"].([]any) {
		scope := item.(map[string]any)
		calls[scope["name"].(string)], _ = scope["routes"].([]any)
	}
	for _, scope := range access.Scopes(access.Demands(all(routes()))) {
		if _, known := calls[scope]; !known {
			t.Errorf("%s cannot be granted: its file is missing in proto/all", scope)
		}
	}
	settings := 0
	for _, r := range routes() {
		if r.Demand.Scope == "" || r.Demand.Scope == identity.ScopeSelf {
			continue
		}
		if !slices.Contains(calls[r.Demand.Scope], any(r.verb+" "+r.path)) {
			t.Errorf("%s %s is not among the calls of scope %s", r.verb, r.path, r.Demand.Scope)
		}
		if strings.HasPrefix(r.path, "/ip/v3/setting/") {
			settings++
		}
	}
	if settings == 0 {
		t.Error("no route of /ip/v3/setting")
	}
}
