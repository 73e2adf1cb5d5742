package access

import (
	"slices"
	"strings"

	"slipway.dev/pkg/identity"
)

// Scopes lists the scopes of demands, each once.
func Scopes(demands []identity.Demand) []string {
	var list []string
	for _, d := range demands {
		if !slices.Contains(list, d.Scope) {
			list = append(list, d.Scope)
		}
	}
	slices.Sort(list)
	return list
}

// Expand returns the known scopes that match patterns: "vms.read" matches itself, "vms.*" all that begin with "vms.", "*.read"
// all that end with ".read", "*" all. It also returns the patterns that match no scope.
func Expand(patterns, known []string) (scopes, strange []string) {
	for _, p := range patterns {
		found := false
		for _, s := range known {
			if !matches(p, s) {
				continue
			}
			found = true
			if !slices.Contains(scopes, s) {
				scopes = append(scopes, s)
			}
		}
		if !found {
			strange = append(strange, p)
		}
	}
	slices.Sort(scopes)
	return scopes, strange
}

// matches reports whether pattern matches scope.
func matches(pattern, scope string) bool {
	head, star := strings.CutSuffix(pattern, "*")
	tail, tailStar := strings.CutPrefix(pattern, "*")
	switch {
	case pattern == "*":
		return true
	case star && strings.HasSuffix(head, "."):
		return strings.HasPrefix(scope, head)
	case tailStar && strings.HasPrefix(tail, "."):
		return strings.HasSuffix(scope, tail)
	default:
		return pattern == scope
	}
}

// Reach says which objects a caller can reach through a demand.
type Reach int

// Nowhere means that the call is refused, Own the caller's own objects, All the objects of every account.
const (
	Nowhere Reach = iota
	Own
	All
)

// ReachOf returns the reach of i through d.
func ReachOf(i identity.Identity, d identity.Demand) Reach {
	n, ok := i.For(d)
	switch {
	case !ok:
		return Nowhere
	case n.ReachesAll():
		return All
	default:
		return Own
	}
}

// Covers reports whether i reaches at least as far as other in every demand. If not, it returns a scope in which other reaches
// further.
func Covers(demands []identity.Demand, i, other identity.Identity) (more string, ok bool) {
	for _, d := range demands {
		if ReachOf(other, d) > ReachOf(i, d) {
			return d.Scope, false
		}
	}
	return "", true
}
