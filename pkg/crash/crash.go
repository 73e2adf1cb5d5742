// Package crash kills the process at a named point, so that tests can prove that any crash is survived.
package crash

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Env names the variable that arms one point: "name" or "name:n" for its n-th hit.
const Env = "SLIPWAY_CRASH_AT"

var (
	point, after = parse(os.Getenv(Env))
	hits         atomic.Int64
)

// Hit kills the process with SIGKILL, as a power cut would, when this point is armed. Otherwise it does nothing.
func Hit(name string) {
	if point == "" || point != name || hits.Add(1) < after {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way: nothing may happen after the point
}

// Armed reports whether any point is armed. Callers use it to spare building a name.
func Armed() bool { return point != "" }

func parse(s string) (string, int64) {
	name, count, ok := strings.Cut(s, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil {
		return name, 1
	}
	return name, n
}
