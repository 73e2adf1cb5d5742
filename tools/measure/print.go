package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// print writes the table, each row with the top largest.
func (h *house) print(w io.Writer, top int) {
	code, tests, kits := h.split()
	fmt.Fprintf(w, "%d files, %d lines, %d packages; %d lines generated\n\n", len(code), sum(code, func(f *file) int { return f.lines.all }),
		len(h.packages), h.generated)
	fmt.Fprintf(w, "%-28s %7s %7s %7s %7s   largest\n", "", "median", "p90", "p99", "max")
	for _, r := range []struct {
		name string
		list []named
	}{
		{"lines/file", each(code, func(f *file) []named { return []named{{f.lines.all, f.name}} })},
		{"lines/function", each(code, func(f *file) []named { return f.funcs })},
		{"exported names/package", h.each(func(p *pack) int { return p.exported })},
		{"own imports/package", h.each(func(p *pack) int { return len(p.imports) })},
		{"longest line/file", each(code, func(f *file) []named { return []named{{f.lines.longest, f.name}} })},
	} {
		row(w, r.name, r.list, top)
	}
	fmt.Fprintln(w)
	lineOf := func(name string, x any) { fmt.Fprintf(w, "%-28s %v\n", name, x) }
	written, kit, tested := sumCode(code), sumCode(kits), sumCode(tests)
	lineOf("test/code, by file name", ratio(tested, written))
	lineOf("  without kits and benches", ratio(tested, written-kit))
	lineOf("  kits counted as tests", ratio(tested+kit, written-kit))
	comments := sum(code, func(f *file) int { return f.lines.comment })
	lineOf("comment share", fmt.Sprintf("%.1f %%", 100*float64(comments)/float64(max(comments+written, 1))))
	lineOf("lines over 120 columns", sum(code, func(f *file) int { return f.lines.wide }))
	lineOf("lines over 140 columns", sum(code, func(f *file) int { return f.lines.wider }))
	for _, name := range []string{"func init()", "status.Error", "//nolint", "#nosec", "interfaces"} {
		lineOf(name, sum(code, func(f *file) int { return f.facts[name] }))
	}
	lineOf("test functions", sum(tests, func(f *file) int { return f.facts["func Test"] }))
	printWords(w, code, top)
	fmt.Fprintln(w, "\nkits and benches (no program links them): "+strings.Join(h.kits(), " "))
}

func printWords(w io.Writer, code []*file, top int) {
	fmt.Fprintln(w, "\nwords in comments that are not of tests")
	for _, name := range []string{"nobody", "somebody", "shall", "tell, tells, told", "for ever", "whose"} {
		list := each(code, func(f *file) []named { return []named{{f.facts[name], f.name}} })
		fmt.Fprintf(w, "  %-26s %5d   %s\n", name, total(list), largest(list, top))
	}
}

// split parts code from tests; kits are a part of the code.
func (h *house) split() (code, tests, kits []*file) {
	for _, f := range h.files {
		switch {
		case f.test:
			tests = append(tests, f)
			continue
		case h.kit(f):
			kits = append(kits, f)
		}
		code = append(code, f)
	}
	return code, tests, kits
}

func (h *house) kits() []string {
	var list []string
	for _, p := range h.packages {
		if !p.linked {
			list = append(list, p.dir)
		}
	}
	slices.Sort(list)
	return list
}

func (h *house) each(n func(*pack) int) []named {
	var list []named
	for _, p := range h.packages {
		list = append(list, named{n(p), p.dir})
	}
	return list
}

func each(files []*file, of func(*file) []named) []named {
	var list []named
	for _, f := range files {
		list = append(list, of(f)...)
	}
	return list
}

func sum(files []*file, of func(*file) int) int {
	n := 0
	for _, f := range files {
		n += of(f)
	}
	return n
}

func sumCode(files []*file) int { return sum(files, func(f *file) int { return f.lines.code() }) }

func total(list []named) int {
	n := 0
	for _, x := range list {
		n += x.n
	}
	return n
}

func ratio(a, b int) string { return fmt.Sprintf("%.2f", float64(a)/float64(max(b, 1))) }

func row(w io.Writer, name string, list []named, top int) {
	order(list)
	fmt.Fprintf(w, "%-28s %7d %7d %7d %7d   %s\n", name, rank(list, 50), rank(list, 90), rank(list, 99), rank(list, 100), largest(list, top))
}

// order sorts a list, the largest first.
func order(list []named) {
	slices.SortFunc(list, func(a, b named) int { return cmp.Or(b.n-a.n, strings.Compare(a.name, b.name)) })
}

// rank returns the p-th percentile of an ordered list.
func rank(list []named, p int) int {
	if len(list) == 0 {
		return 0
	}
	last := len(list) - 1
	return list[last-last*p/100].n
}

// largest names the top of a list that are not zero.
func largest(list []named, top int) string {
	order(list)
	var names []string
	for _, x := range list[:min(top, len(list))] {
		if x.n > 0 {
			names = append(names, fmt.Sprintf("%s %d", x.name, x.n))
		}
	}
	return strings.Join(names, ", ")
}
