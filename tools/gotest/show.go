package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// event is a line of go test -json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of what is built
	Test       string
	Output     string
	Elapsed    float64
}

// took is how long a test ran, in seconds.
type took struct {
	Package, Test string
	Seconds       float64
}

// pkg collects what the tests of a package say, until the package ends.
type pkg struct {
	said   []event
	good   map[string]bool // tests that passed or were skipped
	cached bool
	times  []took
}

// show prints the events of go test and returns how long each test ran.
func show(in io.Reader, out io.Writer) ([]took, error) {
	packages := map[string]*pkg{}
	var all []took
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(out, line) // not an event: what go itself has to say
			} else {
				all = append(all, take(packages, e, out)...)
			}
		}
		if err == io.EOF {
			unfinished(packages, out)
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// take handles one event. At the end of a package it returns how long the tests of the package ran.
func take(packages map[string]*pkg, e event, out io.Writer) []took {
	if e.Action == "build-output" {
		fmt.Fprint(out, e.Output)
		return nil
	}
	if e.Package == "" {
		return nil
	}
	p := packages[e.Package]
	if p == nil {
		p = &pkg{good: map[string]bool{}}
		packages[e.Package] = p
	}
	switch e.Action {
	case "output":
		p.said = append(p.said, e)
		p.cached = p.cached || e.Test == "" && strings.Contains(e.Output, "\t(cached)")
	case "pass", "skip", "fail":
		if e.Test != "" {
			p.good[e.Test] = e.Action != "fail"
			if !strings.Contains(e.Test, "/") {
				p.times = append(p.times, took{e.Package, e.Test, e.Elapsed})
			}
			return nil
		}
		p.print(out, e.Action == "fail")
		delete(packages, e.Package)
		if !p.cached {
			return p.times
		}
	}
	return nil
}

// print shows the closing line of the package and, after a failure, all that the tests said that did not pass.
func (p *pkg) print(out io.Writer, failed bool) {
	for _, e := range p.said {
		switch {
		case e.Test != "" && (!failed || p.good[e.Test]):
		case !failed && e.Output == "PASS\n":
		case failed && strings.HasPrefix(e.Output, "=== "):
		default:
			fmt.Fprint(out, e.Output)
		}
	}
}

// unfinished shows what packages said that did not end, as after Ctrl-C.
func unfinished(packages map[string]*pkg, out io.Writer) {
	for name, p := range packages {
		fmt.Fprintf(out, "%s did not end:\n", name)
		p.print(out, true)
	}
}
