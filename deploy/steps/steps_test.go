// Package steps tests the shell functions that make test is made of.
package steps

import (
	"os/exec"
	"strings"
	"testing"
)

// script runs steps with bash and returns the exit code and what was written.
func script(t *testing.T, text string) (int, string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "set -euo pipefail\n. ./steps.sh\nbin=$work\n"+text)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestFailureEndsTheRun: a step that fails beside a long one ends both, with its name, its output and its exit code.
func TestFailureEndsTheRun(t *testing.T) {
	t.Parallel()
	code, out := script(t, `
		long() { step "long" sh -c 'trap "exit 9" TERM; read never <"$0"' <(exec tail -f /dev/null); step "after" echo never; }
		bad() { step "good" echo fine; step "bad" sh -c 'echo what went wrong; exit 7'; step "next" echo never; }
		abreast long bad
		echo reached`)
	if code != 7 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"== passed: good", "what went wrong", "== FAILED: bad (exit code 7)"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for _, no := range []string{"never", "reached", "FAILED: long"} {
		if strings.Contains(out, no) {
			t.Errorf("%q in\n%s", no, out)
		}
	}
}

// TestOutputIsInOnePiece: what steps say that run side by side does not mix.
func TestOutputIsInOnePiece(t *testing.T) {
	t.Parallel()
	code, out := script(t, `
		a() { step "one" sh -c 'for i in 1 2 3 4 5 6 7 8 9; do echo a; done'; }
		b() { step "two" sh -c 'for i in 1 2 3 4 5 6 7 8 9; do echo b; done'; }
		abreast a b
		abreast a
		cat "$work/steps"`)
	if code != 0 || strings.Count(out, strings.Repeat("a\n", 9)) != 2 || !strings.Contains(out, strings.Repeat("b\n", 9)) {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if strings.Count(out, " s  one") != 2 || strings.Count(out, " s  two") != 1 {
		t.Errorf("table\n%s", out)
	}
}
