package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
)

// sites returns all mutants of a file.
func sites(file string, source []byte) ([]mutant, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(parsed) {
		return nil, nil
	}
	f := &finder{file: file, source: source, set: set, open: map[ast.Node]bool{}}
	for _, d := range parsed.Decls {
		f.function, f.results = "", nil
		if fn, ok := d.(*ast.FuncDecl); ok {
			f.function, f.results = functionName(fn), fn.Type.Results
		}
		ast.Inspect(d, f.visit)
	}
	return f.found, nil
}

// functionName returns the name of a function, with that of its receiver.
func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if i, ok := t.(*ast.IndexExpr); ok {
		t = i.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// finder collects the mutants of one file.
type finder struct {
	file     string
	source   []byte
	set      *token.FileSet
	function string
	results  *ast.FieldList    // of the function that is visited
	open     map[ast.Node]bool // strings that another one follows: a statement goes on there
	found    []mutant
}

func (f *finder) offset(p token.Pos) int { return f.set.Position(p).Offset }

// replace adds the mutant that has text instead of what stands between two positions.
func (f *finder) replace(from, to token.Pos, text string) {
	f.found = append(f.found, mutant{
		file: f.file, source: f.source, function: f.function, line: f.set.Position(from).Line,
		begin: f.offset(from), end: f.offset(to), text: text,
	})
}

func (f *finder) text(n ast.Node) string {
	return string(f.source[f.offset(n.Pos()):f.offset(n.End())])
}

// visit adds the mutants of one node.
func (f *finder) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec, *ast.Field:
		return false // no tags, no paths
	case *ast.FuncLit:
		outer := f.results
		f.results = n.Type.Results
		ast.Inspect(n.Body, f.visit)
		f.results = outer
		return false
	case *ast.IfStmt:
		f.condition(n.Cond)
	case *ast.ForStmt:
		f.condition(n.Cond)
	case *ast.BinaryExpr:
		f.binary(n)
	case *ast.ReturnStmt:
		f.returned(n)
	case *ast.ExprStmt:
		f.call(n)
	case *ast.AssignStmt:
		if len(n.Rhs) == 1 && len(n.Lhs) == 1 && n.Tok != token.DEFINE && f.text(n.Lhs[0]) != "_" {
			f.replace(n.Pos(), n.End(), "_ = "+f.text(n.Rhs[0]))
		}
	case *ast.IncDecStmt:
		f.replace(n.Pos(), n.End(), "_ = "+f.text(n.X))
	case *ast.BasicLit:
		if n.Kind == token.STRING {
			f.literal(n)
		}
	}
	return true
}

// condition negates a condition that is no comparison: comparisons have mutants of their own.
func (f *finder) condition(cond ast.Expr) {
	switch c := cond.(type) {
	case nil:
	case *ast.BinaryExpr: // has its own
	case *ast.UnaryExpr:
		if c.Op == token.NOT {
			f.replace(c.Pos(), c.End(), f.text(c.X))
		}
	default:
		f.replace(c.Pos(), c.End(), "!("+f.text(c)+")")
	}
}

// opposite has the operators that stand for each operator.
var opposite = map[token.Token][]string{
	token.EQL: {"!="}, token.NEQ: {"=="},
	token.LSS: {"<=", ">"}, token.LEQ: {"<", ">"}, token.GTR: {">=", "<"}, token.GEQ: {">", "<"},
	token.ADD: {"-"}, token.SUB: {"+"}, token.MUL: {"/"}, token.QUO: {"*"}, token.REM: {"*"},
	token.SHL: {">>"}, token.SHR: {"<<"}, token.AND: {"|"}, token.OR: {"&"},
}

// binary exchanges an operator, or drops a side of a logical one.
func (f *finder) binary(n *ast.BinaryExpr) {
	if n.Op == token.LAND || n.Op == token.LOR {
		f.replace(n.Pos(), n.End(), f.text(n.X))
		f.replace(n.Pos(), n.End(), f.text(n.Y))
		return
	}
	if n.Op == token.ADD && (isText(n.X) || isText(n.Y)) {
		ast.Inspect(n.X, func(x ast.Node) bool {
			f.open[x] = true
			return true
		})
		return
	}
	for _, op := range opposite[n.Op] {
		f.replace(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), op)
	}
}

// isText reports whether an expression is surely a string.
func isText(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Kind == token.STRING
	case *ast.BinaryExpr:
		return isText(e.X) || isText(e.Y)
	}
	return false
}

// returned changes what a function returns: no error instead of one, and the opposite of a bool.
func (f *finder) returned(n *ast.ReturnStmt) {
	if f.results == nil || len(n.Results) == 0 || len(n.Results) != f.results.NumFields() {
		return
	}
	last := n.Results[len(n.Results)-1]
	if f.text(last) == "nil" {
		return
	}
	switch f.text(f.results.List[len(f.results.List)-1].Type) {
	case "error":
		f.replace(last.Pos(), last.End(), "nil")
	case "bool":
		if _, comparison := last.(*ast.BinaryExpr); !comparison {
			f.replace(last.Pos(), last.End(), "!("+f.text(last)+")")
		}
	}
}

// passive matches calls whose loss no test can see or that would only hang: locks, ends of resources, the log.
var passive = regexp.MustCompile(
	`(^|\.)(R?Lock|R?Unlock|Close|Stop|Helper|panic|Warn|Info|Error|Debug|LogAttrs|Rollback)\(|(?i)\blog\.`)

// call removes a statement that only calls something.
func (f *finder) call(n *ast.ExprStmt) {
	c, ok := n.X.(*ast.CallExpr)
	if !ok || passive.MatchString(f.text(c.Fun)+"(") {
		return
	}
	args := ""
	for _, a := range c.Args {
		if id, ok := a.(*ast.Ident); ok && id.Name != "nil" {
			args += fmt.Sprintf("_ = %s; ", id.Name)
		}
	}
	f.replace(n.Pos(), n.End(), "{ "+args+"}")
}

// literal adds the mutants of SQL in a string.
func (f *finder) literal(n *ast.BasicLit) {
	if strings.HasPrefix(n.Value, `"`) && strings.Contains(n.Value, `\`) {
		return
	}
	body := n.Value[1 : len(n.Value)-1]
	for _, e := range sqlEdits(body) {
		if f.open[n] && e.end == len(body) {
			continue // the predicate goes on
		}
		from := n.Pos() + token.Pos(1+e.begin)
		f.replace(from, n.Pos()+token.Pos(1+e.end), e.text)
	}
}
