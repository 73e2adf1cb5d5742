package main

import (
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

// lines of a file by what they hold. A line with code and a comment is code.
type lines struct {
	all, blank, comment int
	wide, wider         int // over 120 and over 140 columns
	longest             int
}

func (l lines) code() int { return l.all - l.blank - l.comment }

func readText(p string) (string, error) {
	text, err := os.ReadFile(p)
	return string(text), err
}

func countLines(set *token.FileSet, tree *ast.File, text string) lines {
	var l lines
	for line := range strings.Lines(text) {
		l.all++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			l.blank++
		}
		n := utf8.RuneCountInString(line)
		l.longest = max(l.longest, n)
		if n > 120 {
			l.wide++
		}
		if n > 140 {
			l.wider++
		}
	}
	for _, group := range tree.Comments {
		for _, c := range group.List {
			start := set.Position(c.Pos())
			before := text[start.Offset-start.Column+1 : start.Offset]
			if strings.TrimSpace(before) == "" {
				l.comment += set.Position(c.End()).Line - start.Line + 1
			}
		}
	}
	return l
}

// named is a number and what it is of.
type named struct {
	n    int
	name string
}

// functions returns the lines of every function, from func to its brace.
func functions(set *token.FileSet, tree *ast.File, in string) []named {
	var list []named
	for _, d := range tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
			n := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1
			list = append(list, named{n, in + " " + f.Name.Name})
		}
	}
	return list
}

// exported counts the exported constants, variables, types and functions; methods belong to their types.
func exported(tree *ast.File) int {
	n := 0
	see := func(id *ast.Ident) {
		if id.IsExported() {
			n++
		}
	}
	for _, d := range tree.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				see(d.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					see(s.Name)
				case *ast.ValueSpec:
					for _, id := range s.Names {
						see(id)
					}
				}
			}
		}
	}
	return n
}

// words are those that a comment does without: they hide who does what.
var words = map[string]*regexp.Regexp{
	"nobody":            regexp.MustCompile(`(?i)\bnobody\b`),
	"somebody":          regexp.MustCompile(`(?i)\bsomebody\b`),
	"shall":             regexp.MustCompile(`(?i)\bshall\b`),
	"tell, tells, told": regexp.MustCompile(`(?i)\b(tells?|told)\b`),
	"for ever":          regexp.MustCompile(`(?i)\bfor ever\b`),
	"whose":             regexp.MustCompile(`(?i)\bwhose\b`),
}

// count counts words in comments and constructs in code.
func count(tree *ast.File, text string) map[string]int {
	n := map[string]int{}
	for _, group := range tree.Comments {
		// The text with its lines joined, so that words apart by a line break are seen.
		comment := strings.Join(strings.Fields(group.Text()), " ")
		for word, is := range words {
			n[word] += len(is.FindAllString(comment, -1))
		}
	}
	n["//nolint"] = strings.Count(text, "//nolint")
	n["#nosec"] = strings.Count(text, "#nosec")
	ast.Inspect(tree, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncDecl:
			if node.Recv == nil && node.Name.Name == "init" {
				n["func init()"]++
			}
			if node.Recv == nil && strings.HasPrefix(node.Name.Name, "Test") {
				n["func Test"]++
			}
		case *ast.TypeSpec:
			if _, ok := node.Type.(*ast.InterfaceType); ok {
				n["interfaces"]++
			}
		case *ast.CallExpr:
			if s, ok := node.Fun.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "status" && strings.HasPrefix(s.Sel.Name, "Error") {
					n["status.Error"]++
				}
			}
		}
		return true
	})
	return n
}
