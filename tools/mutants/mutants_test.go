package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const source = `package p

func (r *Runner) due(n int, ok bool) (bool, error) {
	if n < 3 && ok {
		r.count++
		r.wake(n)
	}
	_, err := r.db.Exec(` + "`UPDATE job SET n = n + 1 WHERE id = $1 AND until < now() AND NOT done`" + `, n)
	if err != nil {
		return false, err
	}
	return n == 4, nil
}
`

// TestMistakesOfGo names the mistakes that are planted in a function.
func TestMistakesOfGo(t *testing.T) {
	t.Parallel()
	list, err := sites("p.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list {
		_, after := m.lines()
		got = append(got, oneLine(after))
		if !strings.HasPrefix(m.name(), "p.go Runner.due: ") || m.line < 4 {
			t.Errorf("%s:%d", m.name(), m.line)
		}
	}
	const sql = "_, err := r.db.Exec(`UPDATE job SET n = n "
	want := []string{
		"if n < 3 {", "if ok {", "if n <= 3 && ok {", "if n > 3 && ok {", "_ = r.count", "{ _ = n; }",
		sql + "- 1 WHERE id = $1 AND until < now() AND NOT done`, n)",
		sql + "+ 1 WHERE true AND until < now() AND NOT done`, n)",
		sql + "+ 1 WHERE id <> $1 AND until < now() AND NOT done`, n)",
		sql + "+ 1 WHERE id = $1 AND NOT done`, n)",
		sql + "+ 1 WHERE id = $1 AND until > now() AND NOT done`, n)",
		sql + "+ 1 WHERE id = $1 AND until < now() `, n)",
		sql + "+ 1 WHERE id = $1 AND until < now() AND done`, n)",
		"if err == nil {", "return false, nil", "return n != 4, nil",
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("not planted: %s", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d mutants: %q", len(got), got)
	}
}

// TestMistakesOfSQL checks where predicates end.
func TestMistakesOfSQL(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string][]string{
		"SELECT 1 FROM a WHERE x BETWEEN 1 AND 2 AND y": {
			"SELECT 1 FROM a WHERE true AND y", "SELECT 1 FROM a WHERE x BETWEEN 1 AND 2 ",
		},
		"SELECT 1 WHERE (a = 1 OR b > 2) ORDER BY n DESC FOR UPDATE": {
			"SELECT 1 WHERE true ORDER BY n DESC FOR UPDATE", "SELECT 1 WHERE (a = 1 OR b >= 2) ORDER BY n DESC FOR UPDATE",
			"SELECT 1 WHERE (a = 1 OR b > 2) ORDER BY n ASC FOR UPDATE", "SELECT 1 WHERE (a = 1 OR b > 2) ORDER BY n DESC ",
		},
		"SELECT 1 WHERE EXISTS (SELECT FROM b WHERE b.id = a.id) FOR UPDATE SKIP LOCKED": {
			"SELECT 1 WHERE true FOR UPDATE SKIP LOCKED",
			"SELECT 1 WHERE EXISTS (SELECT FROM b WHERE true ) FOR UPDATE SKIP LOCKED",
			"SELECT 1 WHERE EXISTS (SELECT FROM b WHERE b.id <> a.id) FOR UPDATE SKIP LOCKED",
			"SELECT 1 WHERE EXISTS (SELECT FROM b WHERE b.id = a.id) FOR UPDATE ",
		},
		"a text that is no statement":             nil,
		"SELECT '-- AND', a -- AND b\nFROM t":     nil,
		"UPDATE t SET a = least(a, b), c = d - 1": {"UPDATE t SET a = greatest(a, b), c = d - 1", "UPDATE t SET a = least(a, b), c = d + 1"},
	} {
		var got []string
		for _, e := range sqlEdits(sql) {
			got = append(got, sql[:e.begin]+e.text+sql[e.end:])
		}
		slices.Sort(got)
		slices.Sort(want)
		if oneLine(strings.Join(got, "\n")) != oneLine(strings.Join(want, "\n")) {
			t.Errorf("%s\ngot  %q\nwant %q", sql, got, want)
		}
	}
}

// TestNamesOutliveChangesElsewhere checks that a sample stays the same when lines are added.
func TestNamesOutliveChangesElsewhere(t *testing.T) {
	t.Parallel()
	names := func(text string) (list []string) {
		all, err := sites("p.go", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		number(all)
		for _, m := range sample(all, "7", 5) {
			list = append(list, m.name())
		}
		return list
	}
	before, after := names(source), names(strings.Replace(source, "package p", "package p\n\nvar x = 1", 1))
	if len(before) != 5 || !slices.Equal(before, after) {
		t.Errorf("%q, then %q", before, after)
	}
}

// TestFunctionsOfSQL checks that mistakes are planted in functions and not in tables.
func TestFunctionsOfSQL(t *testing.T) {
	t.Parallel()
	const text = "CREATE INDEX i ON t (a) WHERE b = 1;\nCREATE FUNCTION f() RETURNS int AS $$\nSELECT 1 WHERE c = 1 $$;" +
		"CREATE FUNCTION old() RETURNS int AS $$ SELECT 1 WHERE c = 1 $$;"
	list := functionSites("a.sql", []byte(text), func(name string) bool { return name == "f" })
	if len(list) != 2 || list[0].line != 3 || list[0].function != "f" || list[1].function != "f" {
		t.Errorf("%v", list)
	}
}

// TestFirstFailure reads what test programs print.
func TestFirstFailure(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]string{
		"=== RUN TestA\n    --- FAIL: TestA/b (0.1s)\n--- FAIL: TestC (0.2s)\n": "TestA/b",
		"--- PASS: TestA (0.00s)\nPASS\n":                                       "",
		"panic: no\n\ngoroutine 1":                                              "panic: no",
	} {
		calls := 0
		if got := firstFailure(strings.NewReader(out), func() { calls++ }); got != want || (calls > 0) != (want != "") {
			t.Errorf("%q: %q", out, got)
		}
	}
}

// TestTargets reads the file of targets.
func TestTargets(t *testing.T) {
	t.Parallel()
	list, err := readTargets("targets.txt", nil)
	if err != nil || len(list) < 8 {
		t.Fatalf("%d targets, %v", len(list), err)
	}
	for _, line := range []string{"a", "a b", "a b |", "| c", "a b | (x)", "a b | c (x"} {
		if got, err := parseTarget(line); err == nil {
			t.Errorf("%q: %+v", line, got)
		}
	}
	got, err := parseTarget("a b c/*.go | d (-n 1 !TestX) e")
	if err != nil || len(got.code) != 2 || len(got.tests) != 2 || strings.Join(got.tests[0].args, " ") != "-n 1" ||
		got.tests[0].skipping([]string{"TestY"})[1] != "^(TestX|TestY|-)$" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := readEqual("equal.txt"); err != nil {
		t.Error(err)
	}
}

// TestOnlyTheConcernedRun: tests run for a mistake in a package that their program is built from, with its migrations.
func TestOnlyTheConcernedRun(t *testing.T) {
	t.Parallel()
	folder, err := filepath.Abs("a/b")
	if err != nil {
		t.Fatal(err)
	}
	r := runner{code: []map[string]bool{{folder: true}, {}}}
	for file, want := range map[string]bool{"a/b/x.go": true, "a/b/migrations/1.sql": true, "a/x.go": false, "a/b/c/x.go": false, "a/1.sql": false} {
		for i := range r.code {
			if got, err := r.concerned(i, file); err != nil || got != (want && i == 0) {
				t.Errorf("%s in program %d: %v %v", file, i, got, err)
			}
		}
	}
	code, err := builtFrom(t.Context(), "strings")
	if err != nil || len(code) < 2 {
		t.Errorf("strings is built from %v, %v", code, err)
	}
}
