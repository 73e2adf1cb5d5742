package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// own is how the import paths of our own packages begin.
const own = "slipway.dev/"

// house is the code below a root.
type house struct {
	files     []*file
	packages  map[string]*pack // by import path
	generated int              // lines
}

// file is one file written by hand.
type file struct {
	name  string // from the root
	test  bool
	lines lines
	funcs []named
	facts map[string]int // of count
}

// pack is what the files of one package that are not tests hold together.
type pack struct {
	dir      string
	program  bool
	exported int
	imports  map[string]bool // own ones
	linked   bool            // a part of some program
}

// read parses every Go file below root.
func read(root string) (*house, error) {
	h := &house{packages: map[string]*pack{}}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(p, root, d.Name()):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(p) != ".go":
			return nil
		}
		return h.add(root, p)
	})
	h.link()
	return h, err
}

func skipped(p, root, name string) bool {
	return p != root && (name == "testdata" || name == "bin" || strings.HasPrefix(name, "."))
}

// add parses one file.
func (h *house) add(root, p string) error {
	rel, err := filepath.Rel(root, p)
	if err != nil {
		return err
	}
	text, err := readText(p)
	if err != nil {
		return err
	}
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, p, text, parser.ParseComments)
	if err != nil {
		return err
	}
	if ast.IsGenerated(tree) {
		h.generated += strings.Count(text, "\n")
		return nil
	}
	f := &file{name: filepath.ToSlash(rel), test: strings.HasSuffix(p, "_test.go"), lines: countLines(set, tree, text)}
	f.funcs, f.facts = functions(set, tree, f.name), count(tree, text)
	h.files = append(h.files, f)
	if !f.test {
		h.pack(path.Dir(f.name)).add(tree)
	}
	return nil
}

func (h *house) pack(dir string) *pack {
	p := h.packages[own+dir]
	if p == nil {
		p = &pack{dir: dir, imports: map[string]bool{}}
		h.packages[own+dir] = p
	}
	return p
}

func (p *pack) add(tree *ast.File) {
	p.program = tree.Name.Name == "main"
	p.exported += exported(tree)
	for _, i := range tree.Imports {
		if name, err := strconv.Unquote(i.Path.Value); err == nil && strings.HasPrefix(name, own) {
			p.imports[name] = true
		}
	}
}

// link marks what programs are made of. Benchmarks are programs of no user.
func (h *house) link() {
	var mark func(name string)
	mark = func(name string) {
		p := h.packages[name]
		if p == nil || p.linked {
			return
		}
		p.linked = true
		for i := range p.imports {
			mark(i)
		}
	}
	for name, p := range h.packages {
		if p.program && !strings.HasPrefix(p.dir, "deploy/bench") && !strings.Contains(p.dir, "test/") {
			mark(name)
		}
	}
}

// kit reports whether a file serves tests or benchmarks alone, although its name does not say so.
func (h *house) kit(f *file) bool {
	p := h.packages[own+path.Dir(f.name)]
	return !f.test && p != nil && !p.linked
}
