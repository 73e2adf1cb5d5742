package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// target is some code with the tests that must notice its mistakes.
type target struct {
	name  string
	code  []string // folders, and patterns of files
	tests []testRun
}

// testRun is a package with tests, and the arguments of its test program.
type testRun struct {
	pkg  string
	args []string
	skip []string // tests that are left out
}

// readTargets returns the targets of a file, those of the names or all. A line is: name, folders, "|", packages, each with the
// arguments of its tests in parentheses; !TestX there leaves a test out.
func readTargets(path string, names []string) ([]target, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []target
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		t, err := parseTarget(line)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 || slices.Contains(names, t.name) {
			list = append(list, t)
		}
	}
	if len(list) < len(names) {
		return nil, fmt.Errorf("%s does not have all of %q", path, names)
	}
	return list, nil
}

func parseTarget(line string) (target, error) {
	code, tests, ok := strings.Cut(line, "|")
	words := strings.Fields(code)
	if !ok || len(words) < 2 {
		return target{}, fmt.Errorf("no target: %q", line)
	}
	t := target{name: words[0], code: words[1:]}
	open := false
	for _, word := range strings.Fields(tests) {
		last := len(t.tests) - 1
		if !open && !strings.HasPrefix(word, "(") {
			t.tests = append(t.tests, testRun{pkg: word})
			continue
		}
		if last < 0 {
			return target{}, fmt.Errorf("arguments without a package: %q", line)
		}
		open = !strings.HasSuffix(word, ")")
		if arg, skip := strings.CutPrefix(strings.Trim(word, "()"), "!"); skip {
			t.tests[last].skip = append(t.tests[last].skip, arg)
		} else if arg != "" {
			t.tests[last].args = append(t.tests[last].args, arg)
		}
	}
	if len(t.tests) == 0 || open {
		return target{}, fmt.Errorf("no tests: %q", line)
	}
	return t, nil
}

// mutants returns all mutants of the target's code that are not listed as equal.
func (t target) mutants(equal *equalList) (list []mutant, err error) {
	files, err := t.files()
	if err != nil {
		return nil, err
	}
	code := ""
	for _, file := range files {
		text, err := os.ReadFile(file) // #nosec G304 -- of targets.txt
		if err != nil {
			return nil, err
		}
		var found []mutant
		if strings.HasSuffix(file, ".sql") {
			found = functionSites(file, text, func(name string) bool { return strings.Contains(code, name+"(") })
		} else if found, err = sites(file, text); err != nil {
			return nil, err
		} else {
			code += string(text)
		}
		list = append(list, found...)
	}
	number(list)
	return slices.DeleteFunc(list, equal.has), nil
}

// files returns the target's Go files without tests, and the SQL files of the migrations in its folders.
func (t target) files() (list []string, err error) {
	for _, code := range t.code {
		patterns := []string{code}
		if !strings.HasSuffix(code, ".go") {
			patterns = []string{code + "/*.go", code + "/migrations/*.sql"}
		}
		before := len(list)
		for _, pattern := range patterns {
			found, err := filepath.Glob(pattern)
			if err != nil {
				return nil, err
			}
			list = append(list, found...)
		}
		if len(list) == before {
			return nil, errors.New("no files: " + code)
		}
	}
	list = slices.DeleteFunc(list, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	// Go before SQL, which it calls.
	slices.SortStableFunc(list, func(a, b string) int { return cmp.Compare(filepath.Ext(a), filepath.Ext(b)) })
	return list, nil
}

// sample returns n of the mutants, chosen by a hash of their names: code that changes elsewhere leaves the choice as it
// is.
func sample(list []mutant, seed string, n int) []mutant {
	rank := func(m mutant) string {
		sum := sha256.Sum256([]byte(seed + " " + m.name()))
		return hex.EncodeToString(sum[:])
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b mutant) int { return cmp.Compare(rank(a), rank(b)) })
	return list[:min(n, len(list))]
}

// test plants the sample of a target and returns the share that was killed, in percent. A mutant that does not build
// gives way to the next one.
func (t target) test(ctx context.Context, o options, equal *equalList, results *state) (float64, error) {
	all, err := t.mutants(equal)
	if err != nil {
		return 0, err
	}
	listed := equal.met()
	all = slices.DeleteFunc(all, func(m mutant) bool { return !o.only.MatchString(m.name()) })
	if o.list {
		for _, m := range sample(all, o.seed, o.n) {
			fmt.Println(m.name())
		}
		return 100, nil
	}
	r := runner{target: t, results: results}
	if err := r.baseline(ctx); err != nil {
		return 0, err
	}
	defer r.clean()
	var survived []mutant
	killed := 0
	for left := sample(all, o.seed, len(all)); len(left) > 0 && killed+len(survived) < o.n; {
		n := min(o.n-killed-len(survived), len(left))
		ends, err := r.all(ctx, left[:n], o)
		if err != nil {
			return 0, err
		}
		for i, m := range left[:n] {
			switch ends[i] {
			case isKilled:
				killed++
			case isAlive:
				survived = append(survived, m)
			}
		}
		left = left[n:]
	}
	total := killed + len(survived)
	share := 100 * float64(killed) / float64(max(total, 1))
	fmt.Printf("\n%s: %d of %d killed, %.0f %% (of %d possible; %d are listed as equal)\n",
		t.name, killed, total, share, len(all), listed)
	for _, m := range survived {
		fmt.Printf("  survived %s\n%s", m.name(), m.diff())
	}
	return share, nil
}
