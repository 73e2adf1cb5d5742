package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A house declares the rooms of a service that is cut by noun.
type house struct {
	service string
	// order lists the rooms, lowest first: a room imports only rooms that stand before it.
	order string
	// tables lists the tables that each room writes and locks; no other room does.
	tables map[string]string
	// reaches lists, for a file such as "host/list.go", the tables of other rooms that it reads.
	reaches map[string]string
	// common lists tables that every room may read and none writes, such as those of pkg/jobs.
	common string
	// apart lists folders below internal that are not rooms. Rooms may import them.
	apart string
}

// houses lists the services that are cut by noun, each declared in a file of its own.
var houses = []house{auth, ip, vm}

// limits of the files in a room.
const (
	maxFileLines = 500
	maxFuncLines = 60
)

// banned lists, for each layer, the imports that it must not have: an exact path, or a prefix that ends in "/".
var banned = map[string][]string{
	"rules": {"github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/", root + "pkg/unit", root + "pkg/pg", "google.golang.org/grpc", root + "proto/node/"},
	"rpc":   {root + "proto/node/"},
	"store": {"google.golang.org/grpc", root + "proto/node/"},
	"list":  {"google.golang.org/grpc", root + "proto/node/"},
	"build": {"google.golang.org/grpc", root + "proto/node/"},
}

// A source is one file of a room, without tests. Its name begins with the room, such as "host/store.go".
type source struct{ name, text string }

// layer returns the layer of a file: the name of the sub-package that it is in, where that is a layer, or else the first word of
// the file's name.
func layer(name string) string {
	parts := strings.Split(strings.TrimSuffix(name, ".go"), "/")
	if len(parts) > 2 && (banned[parts[1]] != nil || parts[1] == "work") {
		return parts[1]
	}
	word, _, _ := strings.Cut(parts[len(parts)-1], "_")
	return word
}

// check returns what is wrong with the rooms of h. known are the tables that the service's migrations make.
func (h house) check(known []string, sources []source) (wrong []string) {
	c := &checker{house: h, owner: map[string]string{}, reached: map[string]bool{}, wrong: &wrong}
	for room, tables := range h.tables {
		for _, t := range strings.Fields(tables) {
			c.owner[t] = room
			if !slices.Contains(known, t) {
				c.add("%s: the migrations make no table %s", room, t)
			}
		}
	}
	for _, t := range known {
		if c.owner[t] == "" {
			c.add("the table %s belongs to no room", t)
		}
	}
	for _, t := range strings.Fields(h.common) {
		c.owner[t] = "common"
	}
	for _, s := range sources {
		c.file(s)
	}
	for name, tables := range h.reaches {
		for _, t := range strings.Fields(tables) {
			if !c.reached[name+" "+t] {
				c.add("%s: declared to read %s, and does not", name, t)
			}
		}
	}
	slices.Sort(wrong)
	return slices.Compact(wrong)
}

type checker struct {
	house
	owner   map[string]string // table → room
	reached map[string]bool   // "file table"
	wrong   *[]string
}

func (c *checker) add(format string, args ...any) {
	*c.wrong = append(*c.wrong, fmt.Sprintf(format, args...))
}

func (c *checker) file(s source) {
	room, _, _ := strings.Cut(s.name, "/")
	if !slices.Contains(strings.Fields(c.order), room) && !slices.Contains(strings.Fields(c.apart), room) {
		c.add("%s: the room %s is not declared", s.name, room)
	}
	if n := strings.Count(s.text, "\n"); n > maxFileLines {
		c.add("%s: %d lines", s.name, n)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, s.name, s.text, parser.SkipObjectResolution)
	if err != nil {
		c.add("%s: %v", s.name, err)
		return
	}
	for _, i := range f.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		c.imports(s.name, room, path)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if d, ok := n.(*ast.FuncDecl); ok {
			if lines := fset.Position(d.End()).Line - fset.Position(d.Pos()).Line; lines > maxFuncLines {
				c.add("%s: %s has %d lines", s.name, d.Name.Name, lines)
			}
		}
		return true
	})
	for _, q := range queries(f) {
		c.query(s.name, room, q)
	}
}

// imports checks the order of the rooms and the layers inside a room.
func (c *checker) imports(name, room, path string) {
	for _, b := range banned[layer(name)] {
		if path == b || strings.HasSuffix(b, "/") && strings.HasPrefix(path, b) {
			c.add("%s: imports %s", name, path)
		}
	}
	rest, ours := strings.CutPrefix(path, root+"services/"+c.service+"/internal/")
	other, _, _ := strings.Cut(rest, "/")
	if !ours || other == room || slices.Contains(strings.Fields(c.apart), other) {
		return
	}
	order := strings.Fields(c.order)
	if slices.Index(order, other) < 0 || slices.Index(order, other) > slices.Index(order, room) {
		c.add("%s: imports %s, which does not stand before %s", name, other, room)
	}
}

var (
	statement = regexp.MustCompile(`\bSELECT\b|\bINSERT INTO\b|\bDELETE FROM\b|\bUPDATE \w+( AS)?( \w+)? SET\b`)
	writes    = regexp.MustCompile(`\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?|LOCK\s+TABLE)\s+(\w+)`)
	reads     = regexp.MustCompile(`\b(?:FROM|JOIN|USING)\s+(\w+)`)
	furthers  = regexp.MustCompile(`,\s*(\w+)(?:\s+\w+)?\s+(?:JOIN|LEFT|CROSS|WHERE)\b`) // FROM a, b WHERE
	locks     = regexp.MustCompile(`\bFOR\s+(?:NO\s+KEY\s+UPDATE|UPDATE|SHARE|KEY\s+SHARE)\b(?:\s+OF\s+(\w+))?`)
)

// locked returns the tables whose rows a text locks: the one that a lock names, else those that the locking SELECT reads itself.
func locked(sql string) map[string]bool {
	tables := map[string]bool{}
	for _, m := range locks.FindAllStringSubmatchIndex(sql, -1) {
		text := lastSelect(sql[:m[0]])
		for _, r := range reads.FindAllStringSubmatch(text, -1) {
			if m[2] < 0 || sql[m[2]:m[3]] == r[1] || isAlias(text, r[1], sql[m[2]:m[3]]) {
				tables[r[1]] = true
			}
		}
	}
	return tables
}

// lastSelect returns the SELECT that is open at the end of a text, without what stands in parentheses.
func lastSelect(sql string) string {
	var open []byte // backwards
	depth := 0
	for i := len(sql) - 1; i >= 0 && depth >= 0; i-- {
		switch sql[i] {
		case ')':
			depth++
		case '(':
			depth--
		}
		if depth == 0 {
			open = append(open, sql[i])
		}
	}
	slices.Reverse(open)
	return string(open[max(0, strings.LastIndex(string(open), "SELECT")):])
}

// query checks one SQL text, or a part of one.
func (c *checker) query(name, room, sql string) {
	l := layer(name)
	if statement.MatchString(sql) && l != "store" && l != "list" && l != "build" {
		c.add("%s: SQL stands in store, list and build files: %.60q", name, strings.Join(strings.Fields(sql), " "))
	}
	changed := map[string]bool{}
	for _, m := range writes.FindAllStringSubmatch(sql, -1) {
		changed[m[1]] = true
	}
	inLock := locked(sql)
	for _, m := range append(reads.FindAllStringSubmatch(sql, -1), furthers.FindAllStringSubmatch(sql, -1)...) {
		changed[m[1]] = changed[m[1]] || inLock[m[1]]
	}
	for table, written := range changed {
		owner := c.owner[table]
		declared := slices.Contains(strings.Fields(c.reaches[name]), table)
		switch {
		case owner == "" || owner == room || owner == "common" && !written:
		case written:
			c.add("%s: writes or locks %s, which belongs to %s", name, table, owner)
		case l != "list" && l != "build":
			c.add("%s: reads %s of %s; only list and build files may", name, table, owner)
		case !declared:
			c.add("%s: reads %s of %s, which is not declared", name, table, owner)
		default:
			c.reached[name+" "+table] = true
		}
	}
}

// isAlias reports whether a SQL text gives a table that it reads this alias.
func isAlias(sql, table, alias string) bool {
	return regexp.MustCompile(`\b` + table + `\s+(?:AS\s+)?` + alias + `\b`).MatchString(sql)
}

// queries returns the texts of a file that may hold SQL. Parts that are joined by + are one text. What a query.List reads from
// is written as "FROM …".
func queries(f *ast.File) (list []string) {
	visit := func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.KeyValueExpr:
			key, _ := x.Key.(*ast.Ident)
			if key != nil && (key.Name == "From" || key.Name == "Each" || key.Name == "Table") {
				list = append(list, "FROM "+joined(x.Value))
				return false
			}
		case ast.Expr:
			if text := joined(x); text != "" {
				list = append(list, text)
				return false
			}
		}
		return true
	}
	ast.Inspect(f, visit)
	return list
}

// joined returns the text of a string, or of strings joined by +, in which other operands are a blank.
func joined(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.BasicLit:
		if x.Kind == token.STRING {
			s, _ := strconv.Unquote(x.Value)
			return s
		}
	case *ast.BinaryExpr:
		if l, r := joined(x.X), joined(x.Y); x.Op == token.ADD && l+r != "" {
			return l + " " + r
		}
	}
	return ""
}

// tableChange finds the statements that make, remove or rename a table; a view counts as one.
var tableChange = regexp.MustCompile(`(?i)\bCREATE\s+(?:UNLOGGED\s+)?(?:TABLE|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<made>\w+)` +
	`|\bDROP\s+(?:TABLE|VIEW)\s+(?:IF\s+EXISTS\s+)?(?P<gone>\w+)|\bALTER\s+TABLE\s+(?P<was>\w+)\s+RENAME\s+TO\s+(?P<is>\w+)`)

// tablesOf returns the tables that are there after all migrations of a service.
func tablesOf(t *testing.T, service string) []string {
	t.Helper()
	files, err := filepath.Glob("../../services/" + service + "/internal/*/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no migrations: %v", service, err)
	}
	slices.Sort(files)
	all := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f) //#nosec G304 -- the repository's own sources
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tableChange.FindAllStringSubmatch(string(text), -1) {
			delete(all, m[2])
			delete(all, m[3])
			all[m[1]], all[m[4]] = true, true
		}
	}
	delete(all, "") // of the alternatives that a statement is not
	return slices.Sorted(maps.Keys(all))
}

// TestHouses checks the rooms of every service that is cut by noun.
func TestHouses(t *testing.T) {
	t.Parallel()
	for _, h := range houses {
		internal := filepath.Join("../../services", h.service, "internal")
		var sources []source
		err := filepath.WalkDir(internal, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path) //#nosec G304,G122 -- the repository's own sources
			name, _ := filepath.Rel(internal, path)
			sources = append(sources, source{filepath.ToSlash(name), string(text)})
			return err
		})
		if err != nil || len(sources) < 10 {
			t.Errorf("%s: %d files: %v", h.service, len(sources), err)
		}
		for _, w := range h.check(tablesOf(t, h.service), sources) {
			t.Errorf("%s: %s", h.service, w)
		}
	}
}

// TestHouseChecker plants one mistake of each kind and expects the checker to name it, and nothing else.
func TestHouseChecker(t *testing.T) {
	t.Parallel()
	h := house{
		service: "toy", order: "box lid", apart: "schema", common: "job",
		tables: map[string]string{"box": "box", "lid": "lid"}, reaches: map[string]string{"lid/list.go": "box"},
	}
	good := map[string]string{
		"schema/schema.go": "package schema",
		"box/store.go":     "package box\nconst q = `UPDATE box SET a = 1 WHERE NOT EXISTS (SELECT FROM job)`\n",
		"lid/list.go":      "package lid\nimport _ \"slipway.dev/services/toy/internal/box\"\nvar l = List{From: \"box b\"}\n",
		"lid/store.go":     "package lid\nimport _ \"slipway.dev/services/toy/internal/schema\"\nconst q = `SELECT a ` + `FROM lid FOR UPDATE`\n",
		"lid/rpc.go":       "package lid\nconst text = `the lid is being closed`\n",
	}
	for _, tt := range []struct{ name, file, text, want string }{
		{"nothing", "", "", ""},
		{"order", "box/rpc.go", "package box\nimport _ \"slipway.dev/services/toy/internal/lid\"\n", "does not stand before"},
		{"room", "hat/rpc.go", "package hat", "is not declared"},
		{"write", "lid/store_b.go", "package lid\nconst q = `DELETE FROM box`\n", "belongs to box"},
		{"write in a list", "lid/list_b.go", "package lid\nconst q = `INSERT INTO box VALUES (1)`\n", "belongs to box"},
		{"write of jobs", "lid/store_b.go", "package lid\nconst q = `UPDATE job SET a = 1`\n", "belongs to common"},
		{"lock", "lid/build.go", "package lid\nconst q = `SELECT FROM box WHERE a ` + `= 1 FOR NO KEY UPDATE`\n", "belongs to box"},
		{"lock of one", "lid/build.go", "package lid\nconst q = `SELECT FROM lid l JOIN box b ON true FOR UPDATE OF b`\n", "belongs to box"},
		{"lock of another", "lid/list.go", "package lid\nconst q = `SELECT FROM lid l JOIN box b ON true FOR UPDATE OF l`\n", ""},
		{"lock by alias", "lid/build.go", "package lid\nconst q = `SELECT FROM lid l JOIN box b ON l.a IN (SELECT 1) FOR UPDATE OF b`\n", "writes or locks box"},
		{"lock of another table", "lid/list.go", "package lid\nconst q = `SELECT FROM box b, (SELECT FROM lid FOR UPDATE) l`\n", ""},
		{"read behind a comma", "lid/store_b.go", "package lid\nconst q = `SELECT FROM lid l, box b WHERE true`\n", "only list and build"},
		{"read", "lid/store_b.go", "package lid\nconst q = `SELECT FROM lid JOIN box ON true`\n", "only list and build"},
		{"read not declared", "lid/build.go", "package lid\nvar f = Field{Each: \"box x WHERE true\"}\n", "not declared"},
		{"read no more", "lid/list.go", "package lid", "and does not"},
		{"place", "lid/rpc.go", "package lid\nconst q = `SELECT FROM lid`\n", "SQL stands in"},
		{"rules", "lid/rules_a.go", "package lid\nimport _ \"github.com/jackc/pgx/v5/pgxpool\"\n", "imports github.com"},
		{"rules of a part", "lid/hinge/rules.go", "package hinge\nimport _ \"slipway.dev/pkg/unit\"\n", "imports slipway.dev/pkg/unit"},
		{"rules in a folder", "lid/rules/a.go", "package rules\nimport _ \"slipway.dev/pkg/unit\"\n", "imports slipway.dev/pkg/unit"},
		{"rpc", "lid/rpc_a.go", "package lid\nimport _ \"slipway.dev/proto/node/v1\"\n", "imports slipway.dev/proto/node"},
		{"store", "lid/store.go", "package lid\nimport _ \"google.golang.org/grpc\"\n", "imports google.golang.org/grpc"},
		{"file", "lid/work.go", "package lid\n" + strings.Repeat("\n", maxFileLines), "lines"},
		{"function", "lid/work.go", "package lid\nfunc f() {" + strings.Repeat("\n", maxFuncLines+1) + "}\n", "f has 61 lines"},
	} {
		files := maps.Clone(good)
		if tt.file != "" {
			files[tt.file] = tt.text
		}
		var sources []source
		for name, text := range files {
			sources = append(sources, source{name, text})
		}
		wrong := h.check([]string{"box", "lid"}, sources)
		if tt.want == "" && len(wrong) > 0 || tt.want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], tt.want)) {
			t.Errorf("%s: found %q, want %q", tt.name, wrong, tt.want)
		}
	}
	if wrong := h.check([]string{"box", "hat", "lid"}, []source{{"lid/list.go", good["lid/list.go"]}}); len(wrong) != 1 {
		t.Errorf("a table of no room: found %q", wrong)
	}
}
