package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// mutant is one mistake: in a file, the bytes from begin to end are replaced by text.
type mutant struct {
	file       string
	source     []byte
	function   string
	line       int
	begin, end int
	text       string
	again      int // the number of mutants before that look the same
}

// name identifies a mutant by what it changes and not by its line, so that the name outlives changes elsewhere.
func (m mutant) name() string {
	before, after := m.lines()
	name := fmt.Sprintf("%s %s: %s => %s", filepath.ToSlash(m.file), m.function, oneLine(before), oneLine(after))
	if m.again > 0 {
		name += fmt.Sprintf(" #%d", m.again+1)
	}
	return name
}

// number numbers mutants of the same name.
func number(list []mutant) {
	seen := map[string]int{}
	for i := range list {
		name := list[i].name()
		list[i].again = seen[name]
		seen[name]++
	}
}

// lines returns the lines that the mutant changes, before and after.
func (m mutant) lines() (before, after string) {
	from := strings.LastIndexByte(string(m.source[:m.begin]), '\n') + 1
	to := len(m.source)
	if i := strings.IndexByte(string(m.source[m.end:]), '\n'); i >= 0 {
		to = m.end + i
	}
	return string(m.source[from:to]), string(m.source[from:m.begin]) + m.text + string(m.source[m.end:to])
}

// mutated returns the file with the mistake.
func (m mutant) mutated() []byte {
	out := append([]byte{}, m.source[:m.begin]...)
	out = append(out, m.text...)
	return append(out, m.source[m.end:]...)
}

// diff returns the change as people read it.
func (m mutant) diff() string {
	before, after := m.lines()
	var out strings.Builder
	fmt.Fprintf(&out, "    %s:%d\n", m.file, m.line)
	for _, part := range []struct{ mark, text string }{{"-", before}, {"+", after}} {
		for line := range strings.SplitSeq(part.text, "\n") {
			fmt.Fprintf(&out, "    %s %s\n", part.mark, line)
		}
	}
	return out.String()
}

// oneLine replaces all white space by single spaces.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
