// Package crash kills the process at a named point, so that tests can prove that the service survives any crash. It can also
// make a named point fail, so that tests can prove that earlier steps are undone.
package crash

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Environment variables that arm the points of a process.
const (
	// Env names the point that kills the process: "name" or "name:n" for its n-th hit.
	Env = "SLIPWAY_CRASH_AT"
	// EnvWhen names a file without which no point kills: a test makes the file once its preparations are done.
	EnvWhen = "SLIPWAY_CRASH_WHEN"
	// EnvFail names the point that fails at every hit.
	EnvFail = "SLIPWAY_FAIL_AT"
	// EnvLog names a file to which the name of each point that is hit is added, one a line, as proof that a test reached it.
	EnvLog = "SLIPWAY_CRASH_LOG"
)

var (
	point, after = parse(os.Getenv(Env))
	failing      = os.Getenv(EnvFail)
	armed        = point != "" || failing != "" || os.Getenv(EnvLog) != ""
	hits         atomic.Int64
)

// The list of all points is the one thing here that needs a global: a test that walks it must not forget any, and a
// point declares itself where it stands.
var (
	mu     sync.Mutex
	known  = map[string]bool{}
	logged = map[string]bool{}
)

// Point is a place in the program.
type Point string

// At declares a point, in a package variable.
func At(name string) Point {
	Declare(name)
	return Point(name)
}

// Declare adds points whose names are made at run time.
func Declare(names ...string) {
	mu.Lock()
	defer mu.Unlock()
	for _, n := range names {
		known[n] = true
	}
}

// Points lists all points that were declared, sorted.
func Points() []string {
	mu.Lock()
	defer mu.Unlock()
	return slices.Sorted(maps.Keys(known))
}

// Hit kills the process with SIGKILL, as a power cut would, if this point is armed.
func (p Point) Hit() {
	if armed {
		hit(string(p))
	}
}

// Fail returns an error if this point is armed to fail.
func (p Point) Fail() error {
	if failing == "" || failing != string(p) || !due() {
		return nil
	}
	return fmt.Errorf("%s=%s", EnvFail, failing)
}

// Armed reports whether any point is armed. Callers use it to avoid building names in vain.
func Armed() bool { return armed }

func hit(name string) {
	note(name)
	if point != name || !due() || hits.Add(1) < after {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way: nothing may happen after the point
}

func due() bool {
	path := os.Getenv(EnvWhen)
	if path == "" {
		return true
	}
	_, err := os.Stat(path)
	return err == nil
}

// note writes the name of the point to the log before the point kills or fails.
func note(name string) {
	path := os.Getenv(EnvLog)
	if path == "" {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	if logged[name] {
		return
	}
	logged[name] = true
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return // the test that reads it will miss the point
	}
	defer f.Close()
	_, _ = f.WriteString(name + "\n")
}

func parse(s string) (string, int64) {
	name, count, ok := strings.Cut(s, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil {
		return name, 1
	}
	return name, n
}
