package where_test

import (
	"errors"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
	"slipway.dev/gateway/internal/where"
)

// TestAsReallySent takes the bytes of real clients through the same two steps as a request.
func TestAsReallySent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ client, query, want string }{
		{"terraform task", `where=consul_id+EQ+100013`, `consul_id EQ '100013'`},
		{"terraform name", `where=name+CP+%27terraform%27`, `name CP 'terraform'`},
		{"terraform owner", `where=(name+CP+%27test%27)+AND+(account.id+EQ+11)`, `(name CP 'test' AND account.id EQ '11')`},
		{"terraform pool", `where=ippool+EQ+14`, `ippool EQ '14'`},
		{"whmcs", `where=((consul_id+EQ+'123')+AND+(name+EQ+'host_create'))`, `(consul_id EQ '123' AND name EQ 'host_create')`},
		{
			"whmcs or", `where=((consul_id+EQ+'1')+OR+(consul_id+EQ+'2')+OR+(consul_id+EQ+'3'))`,
			`(consul_id EQ '1' OR consul_id EQ '2' OR consul_id EQ '3')`,
		},
		{"aiovmmanager", `where=((roles+CP+'%25@admin%25')+AND+(state+EQ+'active'))`, `(roles CP '%@admin%' AND state EQ 'active')`},
		{"bash name", `where=name%20EQ%20%27192.0.2.1%27`, `name EQ '192.0.2.1'`},
		{"bash id", `where=(id+EQ+1)`, `id EQ '1'`},
		{"zabbix failed", `where=%28status%20EQ%20%27failed%27%29`, `status EQ 'failed'`},
		{
			"zabbix busy", `where=%28status%20EQ%20%27running%27%20OR%20status%20EQ%20%27created%27%29`,
			`(status EQ 'running' OR status EQ 'created')`,
		},
		{"zabbix id", `where=%28id%20EQ%207%29`, `id EQ '7'`},
		{"seaside", `where=(name+EQ+'Ubuntu%2022.04')`, `name EQ 'Ubuntu 22.04'`},
		{"js", `orderby=ip_addr%20asc&limit=0,512&where=((network%20EQ%2012))`, `network EQ '12'`},
		{"avelon mail", `where=(email+EQ+'user%40example.com')`, `email EQ 'user@example.com'`},
		{"avelon raw mail", `where=(email+EQ+'user@example.com')`, `email EQ 'user@example.com'`},
		{"avelon account", `where=(account+EQ+5)+AND+(state+EQ+'active')`, `(account EQ '5' AND state EQ 'active')`},
		{"guide cluster", `where=(id+EQ+1)`, `id EQ '1'`},
		{
			"guide task", `where=(consul_id+EQ+'1341774670')+AND+(name+EQ+'host_create')`,
			`(consul_id EQ '1341774670' AND name EQ 'host_create')`,
		},
		{"raw percent", `where=roles+CP+'%@admin%'`, `roles CP '%@admin%'`},
		{"raw percent that looks hexadecimal", `where=name+CP+'%admin%'`, `name CP '%admin%'`},
		{"semicolon", `where=name+EQ+'a;b'`, `name EQ 'a;b'`},
		{"umlaut", `where=name+EQ+'b%C3%BCro'`, `name EQ 'büro'`},
		{"two parameters", `where=id+EQ+1&where=(name+EQ+'a'+OR+name+EQ+'b')`, `(id EQ '1' AND (name EQ 'a' OR name EQ 'b'))`},
		{"none", `limit=1`, ``},
		{"empty", `where=`, ``},
		{"blank", `where=+&limit=2`, ``},
	} {
		t.Run(tt.client, func(t *testing.T) {
			t.Parallel()
			values, err := edge.Query(tt.query, raw)
			if err != nil {
				t.Fatal(err)
			}
			q, err := where.Query(values)
			if err != nil {
				t.Fatal(err)
			}
			if got := where.Print(q.GetWhere()); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`a EQ 1 OR b EQ 2 AND c EQ 3`:    `(a EQ '1' OR (b EQ '2' AND c EQ '3'))`,
		`(a EQ 1 OR b EQ 2) AND c EQ 3`:  `((a EQ '1' OR b EQ '2') AND c EQ '3')`,
		`NOT a EQ 1 AND b EQ 2`:          `(NOT a EQ '1' AND b EQ '2')`,
		`NOT (a EQ 1 AND b EQ 2)`:        `NOT (a EQ '1' AND b EQ '2')`,
		`not not a eq 1`:                 `NOT NOT a EQ '1'`,
		`NOT field CP 'x%'`:              `NOT field CP 'x%'`,
		`a is null or b Is Not Null`:     `(a IS null OR NOT b IS null)`,
		`a ne 1 and b gt 2 and c ge 3`:   `(a NE '1' AND b GT '2' AND c GE '3')`,
		`a lt 1 and b le 2`:              `(a LT '1' AND b LE '2')`,
		`cluster.name EQ 'Cluster 1'`:    `cluster.name EQ 'Cluster 1'`,
		`email EQ admin+x@example.com`:   `email EQ 'admin+x@example.com'`,
		`name EQ 'O\'Brien'`:             `name EQ 'O''Brien'`,
		`name EQ 'O''Brien'`:             `name EQ 'O''Brien'`,
		`name EQ 'a\b\\'`:                `name EQ 'a\\b\\'`,
		`name EQ ''`:                     `name EQ ''`,
		`((((a EQ 1))))`:                 `a EQ '1'`,
		`(a EQ 1)AND(b EQ 2)`:            `(a EQ '1' AND b EQ '2')`,
		`a EQ 'x'OR b EQ 'y'`:            `(a EQ 'x' OR b EQ 'y')`,
		`notes EQ 'x' AND order_id EQ 1`: `(notes EQ 'x' AND order_id EQ '1')`,
		"\ta EQ 1\r\n":                   `a EQ '1'`,
		`a EQ -5`:                        `a EQ '-5'`,
		`a EQ null`:                      `a EQ 'null'`,
		strings.Repeat("(", 32) + "a EQ 1" + strings.Repeat(")", 32): `a EQ '1'`,
	} {
		e, err := where.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := where.Print(e); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
		roundTrip(t, e)
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	e, err := where.Parse(`(a EQ 1) AND  bb EQ 2`)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.GetAnd().GetList()[1].GetCompare().GetPosition(); got != 14 {
		t.Errorf("position %d, want 14", got)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`a`:                          `where: expected EQ, NE, GT, GE, LT, LE, CP or IS at 1, found the end`,
		`a = 1`:                      `where: expected EQ, NE, GT, GE, LT, LE, CP or IS at 2, found "="`,
		`a LIKE 'x'`:                 `where: expected EQ, NE, GT, GE, LT, LE, CP or IS at 2, found "LIKE"`,
		`a EQ`:                       `where: expected a value at 4, found the end`,
		`a EQ (1)`:                   `where: expected a value at 5, found "(1)"`,
		`a EQ 'x`:                    `where: expected text with a closing quote at 5, found "'x"`,
		`a EQ 1 b EQ 2`:              `where: expected AND, OR or the end at 7, found "b"`,
		`(a EQ 1`:                    `where: expected AND, OR or ) at 7, found the end`,
		`a EQ 1)`:                    `where: expected AND, OR or the end at 6, found ")"`,
		`()`:                         `where: expected a field name, NOT or ( at 1, found ")"`,
		`a EQ 1 AND`:                 `where: expected a field name, NOT or ( at 10, found the end`,
		`1=1; DROP TABLE host`:       `where: expected EQ, NE, GT, GE, LT, LE, CP or IS at 1, found "=1;"`,
		`a IS 5`:                     `where: expected null or NOT null at 5, found "5"`,
		"a EQ 'x\x00y'":              `where: expected UTF-8 text without zero bytes at 7, found "\x00y'"`,
		"a EQ '\xff'":                `where: expected UTF-8 text without zero bytes at 6, found "\xff'"`,
		`"a" EQ 1`:                   `where: expected a field name, NOT or ( at 0, found "\"a\""`,
		strings.Repeat("(", 100_000): `where: nested deeper than 32 at 33`,
		strings.Repeat("NOT ", 50):   `where: nested deeper than 32 at 131`,
		strings.Repeat("a EQ 1 OR ", 1000) + "a EQ 1": `where: more than 1000 comparisons`,
	} {
		_, err := where.Parse(text)
		f, ok := errors.AsType[*fault.Fault](err)
		if !ok || !errors.Is(f, fault.Invalid) || f.Field != "where" || f.Text() != want {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
}

func TestOrderAndLimit(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]*querypb.Query{
		`orderby=cluster.name+desc&limit=0,50`: {OrderBy: []*querypb.Order{{Field: "cluster.name", Descending: true}}, Limit: 50},
		`orderby=ip_addr%20asc&limit=0,512`:    {OrderBy: []*querypb.Order{{Field: "ip_addr"}}, Limit: 512},
		`orderby=name,+id+DESC&limit=20`:       {OrderBy: []*querypb.Order{{Field: "name"}, {Field: "id", Descending: true}}, Limit: 20},
		`orderby=id&limit=+10+,+20+`:           {OrderBy: []*querypb.Order{{Field: "id"}}, Offset: 10, Limit: 20},
		`orderby=&limit=`:                      {},
		`offset=3`:                             nil,
	} {
		q, err := where.Query(parse(t, query))
		if err != nil {
			t.Errorf("%s: %v", query, err)
		}
		if diff := cmp.Diff(want, q, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for _, query := range []string{
		`limit=-1`, `limit=1e9`, `limit=9223372036854775808`, `limit=2147483648`, `limit=1,2,3`, `limit=,`, `limit=a`,
		`orderby=id+up`, `orderby=,`, `orderby=id;drop`, `orderby=a+b+c`, `where=x`,
	} {
		if _, err := where.Query(parse(t, query)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// FuzzParse: whatever comes is refused or read, and what was read is printed so that it reads the same again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`(a EQ 1)+AND NOT b CP '%x%'`, `a IS NOT null OR b IS null`, `a EQ 'O\'Brien''s'`, `((((`, `NOT NOT a EQ é`, `a eq \'`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := where.Parse(text)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if e != nil {
			roundTrip(t, e)
		}
	})
}

func roundTrip(t *testing.T, e *querypb.Expr) {
	t.Helper()
	text := where.Print(e)
	again, err := where.Parse(text)
	if err != nil {
		if depth(e) > 30 {
			return // printing brackets every level, which may be one more than were written
		}
		t.Fatalf("%s: %v", text, err)
	}
	if !proto.Equal(placeless(e), placeless(again)) {
		t.Errorf("%s: read as %v", text, again)
	}
	if _, err := proto.Marshal(e); err != nil {
		t.Errorf("%s cannot travel: %v", text, err)
	}
}

// placeless is the condition without its positions, which printing changes.
func placeless(e *querypb.Expr) *querypb.Expr {
	e = proto.CloneOf(e)
	var clear func(*querypb.Expr)
	clear = func(e *querypb.Expr) {
		if e.GetCompare() != nil {
			e.GetCompare().Position = 0
		}
		if e.GetNot() != nil {
			clear(e.GetNot())
		}
		for _, list := range [][]*querypb.Expr{e.GetAnd().GetList(), e.GetOr().GetList()} {
			for _, sub := range list {
				clear(sub)
			}
		}
	}
	clear(e)
	return e
}

// TestRandomText is what FuzzParse does, with text that is made of the language's own pieces.
func TestRandomText(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2)) // the same at every run
	pieces := strings.Fields(`( ( ) ) NOT not AND and OR or IS is null a b.c id EQ NE GT GE LT LE CP eq 'x' 'a%' '' ''"" \' 1 -5 é '( NOTa ANDb`)
	for range 200_000 {
		var b strings.Builder
		for range 1 + r.IntN(9) {
			b.WriteString(pieces[r.IntN(len(pieces))])
			if r.IntN(8) > 0 {
				b.WriteByte(' ')
			}
		}
		if e, err := where.Parse(b.String()); err == nil && e != nil {
			roundTrip(t, e)
		}
	}
}

func depth(e *querypb.Expr) int {
	d := 0
	for _, c := range append(append([]*querypb.Expr{}, e.GetAnd().GetList()...), e.GetOr().GetList()...) {
		d = max(d, depth(c))
	}
	if e.GetNot() != nil {
		d = depth(e.GetNot())
	}
	return d + 1
}

// raw are the parameters as the dialect reads them.
var raw = edge.Parameters{Several: []string{"where", "orderby", "fields"}, Raw: []string{"where"}}

func parse(t testing.TB, text string) url.Values {
	t.Helper()
	v, err := edge.Query(text, raw)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
