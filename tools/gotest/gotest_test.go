package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tests of a package: one that passes, one that fails in a subtest.
const tests = `package x

import "testing"

func TestGood(t *testing.T) { t.Log("good says") }

func TestBad(t *testing.T) {
	t.Log("bad says")
	t.Run("part", func(t *testing.T) { t.Errorf("part says\n%s", "in two lines") })
	t.Run("fine", func(t *testing.T) { t.Log("fine says") })
}
`

// write makes a module with one test file.
func write(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module x\n\ngo 1.26.0\n", "x_test.go": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("GOWORK", "off")
}

// gotest runs run and returns its exit code, what it wrote, and the slowest tests.
func gotest(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "times")
	t.Setenv("GOTEST_TIMES", file)
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	os.Stdout = out
	code, err := run(args)
	os.Stdout = old
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	var slow strings.Builder
	if _, err := os.Stat(file); err == nil {
		if err := printSlowest(&slow, file, 1); err != nil {
			t.Fatal(err)
		}
	}
	return code, string(said), slow.String()
}

func TestFailureIsComplete(t *testing.T) {
	write(t, tests)
	code, out, slow := gotest(t, "-count=1", ".")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"bad says", "part says\n", "in two lines", "--- FAIL: TestBad/part", "FAIL\tx\t"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "good says") || strings.Contains(out, "fine says") {
		t.Errorf("tests that passed are shown:\n%s", out)
	}
	if strings.Count(slow, "\n") != 1 || !strings.Contains(slow, " x Test") {
		t.Errorf("slowest: %q", slow)
	}
}

func TestClosingLine(t *testing.T) {
	write(t, "package x\n\nimport \"testing\"\n\nfunc TestGood(t *testing.T) { t.Log(1) }\n")
	code, out, _ := gotest(t, "-count=1", ".")
	if code != 0 || !strings.HasPrefix(out, "ok  \tx\t") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestPanicIsShown(t *testing.T) {
	write(t, "package x\n\nimport \"testing\"\n\nfunc TestPanic(t *testing.T) { panic(\"help\") }\n")
	if code, out, _ := gotest(t, "-count=1", "."); code == 0 || !strings.Contains(out, "panic: help") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestWhatDoesNotBuildIsShown(t *testing.T) {
	write(t, "package x\n\nfunc f() { return 1 }\n")
	if code, out, _ := gotest(t, "-count=1", "."); code == 0 || !strings.Contains(out, "too many return values") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
