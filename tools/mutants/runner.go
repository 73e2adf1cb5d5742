package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// runner builds and runs the tests of one target with mutants.
type runner struct {
	target  target
	results *state
	dir     string
	folders []string          // of the packages with tests, which run there
	code    []map[string]bool // folders of the packages that each test program is built from
	took    []time.Duration   // without a mutant
}

// baseline runs the tests without a mutant: they must pass, and show how long they take.
func (r *runner) baseline(ctx context.Context) (err error) {
	if r.dir, err = os.MkdirTemp("", "mutants-"); err != nil {
		return err
	}
	for i, t := range r.target.tests {
		out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", t.pkg).Output() // #nosec G204 -- of targets.txt
		if err != nil {
			return fmt.Errorf("go list %s: %w", t.pkg, err)
		}
		r.folders = append(r.folders, strings.TrimSpace(string(out)))
		code, err := builtFrom(ctx, t.pkg)
		if err != nil {
			return err
		}
		r.code = append(r.code, code)
		if text, err := r.build(ctx, 0, i, ""); err != nil {
			return fmt.Errorf("%w\n%s", err, text)
		}
		start := time.Now()
		failed, err := r.run(ctx, 0, i, time.Hour, t.skipping(nil)...)
		if err != nil {
			return err
		}
		if failed != "" {
			return fmt.Errorf("%s fails without a mutant: %s", t.pkg, failed)
		}
		r.took = append(r.took, time.Since(start))
		fmt.Printf("%s: %s takes %s\n", r.target.name, t.pkg, r.took[i].Round(time.Second/10))
	}
	return nil
}

// builtFrom returns the folders of the packages that the test program of a package is built from.
func builtFrom(ctx context.Context, pkg string) (map[string]bool, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-deps", "-test", "-f", "{{.Dir}}", pkg).Output() // #nosec G204 -- of targets.txt
	if err != nil {
		return nil, fmt.Errorf("go list -deps %s: %w", pkg, err)
	}
	code := map[string]bool{}
	for dir := range strings.FieldsSeq(string(out)) {
		code[dir] = true
	}
	return code, nil
}

// concerned reports whether the i-th test program has a file in it. Any other one is the same with the mutant and without.
func (r *runner) concerned(i int, file string) (bool, error) {
	folder, err := filepath.Abs(filepath.Dir(file))
	if filepath.Ext(file) == ".sql" {
		folder = filepath.Dir(folder) // migrations are part of the package above
	}
	return r.code[i][folder], err
}

// all returns how the mutants end. Some run at the same time.
func (r *runner) all(ctx context.Context, list []mutant, o options) ([]string, error) {
	ends, errs := make([]string, len(list)), make([]error, o.parallel)
	var next atomic.Int32
	var workers sync.WaitGroup
	for slot := range o.parallel {
		workers.Go(func() {
			for errs[slot] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				ends[i], errs[slot] = r.result(ctx, slot, list[i], o.again)
			}
		})
	}
	workers.Wait()
	return ends, errors.Join(errs...)
}

func (r *runner) clean() { _ = os.RemoveAll(r.dir) } // a temporary directory

// result returns how m ends, by the state file or a run. again has survivors run again.
func (r *runner) result(ctx context.Context, slot int, m mutant, again bool) (string, error) {
	if e, ok := r.results.get(r.target.name, m.name()); ok && (e.End != isAlive || !again) {
		return e.End, nil
	}
	start := time.Now()
	end, by, err := r.plant(ctx, slot, m)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return "", err
	}
	if end != isBroken {
		fmt.Printf("%-8s %5.1fs %s:%d %s\n", end, time.Since(start).Seconds(), m.file, m.line, by)
	}
	return end, r.results.put(entry{r.target.name, m.name(), end, by})
}

// plant runs the tests with one mutant, until one fails. What a test program needs was built without the mutant, so a build that
// fails is the mutant's fault.
func (r *runner) plant(ctx context.Context, slot int, m mutant) (end, by string, err error) {
	overlay, err := r.overlay(slot, m)
	if err != nil {
		return "", "", err
	}
	run := 0
	for i := range r.target.tests {
		if ok, err := r.concerned(i, m.file); !ok || err != nil {
			if err != nil {
				return "", "", err
			}
			continue
		}
		run++
		if text, err := r.build(ctx, slot, i, overlay); err != nil {
			return isBroken, firstLine(text), nil //nolint:nilerr // the build fails because of the mutant
		}
		failed, err := r.fails(ctx, slot, i)
		if failed != "" || err != nil {
			return isKilled, failed, err
		}
	}
	if run == 0 {
		return "", "", fmt.Errorf("no test program of the target %s has %s in it", r.target.name, m.file)
	}
	return isAlive, "", nil
}

// fails runs the i-th test program and returns what failed. A test that fails has to fail once more by itself, or else a
// busy machine would kill mutants; what does not is left out then.
func (r *runner) fails(ctx context.Context, slot, i int) (string, error) {
	limit := 3*r.took[i] + time.Minute
	var flaky []string
	for {
		failed, err := r.run(ctx, slot, i, limit, r.target.tests[i].skipping(flaky)...)
		top, _, _ := strings.Cut(failed, "/")
		if err != nil || !strings.HasPrefix(top, "Test") || len(flaky) == 3 {
			return failed, err
		}
		again, err := r.run(ctx, slot, i, limit, "-test.run", "^"+top+"$")
		if again != "" || err != nil {
			return failed, err
		}
		flaky = append(flaky, top)
	}
}

// skipping returns the arguments that leave tests out: those of the target, and more.
func (t testRun) skipping(more []string) []string {
	return []string{"-test.skip", "^(" + strings.Join(slices.Concat(t.skip, more, []string{"-"}), "|") + ")$"}
}

// overlay writes the file that has go build read the mutant instead of the source.
func (r *runner) overlay(slot int, m mutant) (string, error) {
	path, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	instead, list := r.path(slot, "mutant"+filepath.Ext(m.file)), r.path(slot, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {path: instead}})
	if err != nil {
		return "", err
	}
	return list, errors.Join(os.WriteFile(instead, m.mutated(), 0o600), os.WriteFile(list, text, 0o600))
}

// path returns the path of a file of one of the runs that go on at the same time.
func (r *runner) path(slot int, name string) string {
	return filepath.Join(r.dir, fmt.Sprint(slot, "-", name))
}

func (r *runner) program(slot, i int) string { return r.path(slot, fmt.Sprint("test", i)) }

// build builds the i-th test program.
func (r *runner) build(ctx context.Context, slot, i int, overlay string) (string, error) {
	args := []string{"test", "-c", "-ldflags=-s -w", "-o", r.program(slot, i)}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	// #nosec G204 -- of targets.txt
	out, err := exec.CommandContext(ctx, "go", append(args, r.target.tests[i].pkg)...).CombinedOutput()
	return string(out), err
}

var failure = regexp.MustCompile(`^\s*--- FAIL: (\S+)|^(panic: .*|fatal error: .*)`)

// run runs the i-th test program until its end, or the first failure, and returns what failed.
func (r *runner) run(ctx context.Context, slot, i int, limit time.Duration, more ...string) (failed string, err error) {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	t := r.target.tests[i]
	args := append([]string{"-test.short", "-test.failfast", "-test.v", "-test.timeout", "0"}, more...)
	args = append(args, t.args...)
	cmd := exec.CommandContext(ctx, r.program(slot, i), args...) // #nosec G204 -- it was just built
	cmd.Dir = r.folders[i]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		return "", err
	}
	seen := make(chan string, 1)
	go func() {
		seen <- firstFailure(read, stop)
	}()
	err = cmd.Wait()
	_ = write.Close()
	failed = <-seen
	defer dropSchemas(cmd.Process.Pid)
	switch {
	case failed != "" || err == nil:
		return failed, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "no end after " + limit.Round(time.Second).String(), nil
	}
	return err.Error(), nil
}

// firstFailure reads the output of tests to its end, and calls found at the first failure, which it returns.
func firstFailure(r io.Reader, found func()) (failed string) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if m := failure.FindSubmatch(bytes.TrimRight(line, "\n")); m != nil && failed == "" {
			failed = string(m[1]) + string(m[2])
			found()
		}
		if err != nil {
			return failed
		}
	}
}

// dropSchemas drops the schemas of tests that were killed, where tests share a server.
func dropSchemas(pid int) {
	url := os.Getenv("SLIPWAY_TEST_POSTGRES_URL")
	psql, _ := filepath.Glob("/usr/lib/postgresql/*/bin/psql")
	if url == "" || len(psql) == 0 {
		return
	}
	const names = `SELECT format('DROP SCHEMA IF EXISTS %%I CASCADE', nspname) FROM pg_namespace
		WHERE nspname LIKE 'test\_%d\_%%' \gexec`
	cmd := exec.Command(psql[len(psql)-1], "-q", url) // #nosec G204 G702 -- of the system
	cmd.Stdin = strings.NewReader(fmt.Sprintf(names, pid))
	_ = cmd.Run() // they only take room
}

func firstLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[min(1, len(lines)-1)]
}
