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

// Expand returns the known scopes that patterns name: "vms.read" names itself, "vms.*" all that begin with "vms.", "*.read"
// all that end with ".read", "*" all there are. It also returns the patterns that name none.
func Expand(patterns, known []string) (scopes, strange []string) {
	for _, p := range patterns {
		found := false
		for _, s := range known {
			if !names(p, s) {
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

func names(pattern, scope string) bool {
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

// Reach is how far a caller gets with a demand.
type Reach int

// Nowhere is refused, Own are the caller's own objects, All those of everybody.
const (
	Nowhere Reach = iota
	Own
	All
)

// ReachOf returns how far i gets with d.
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

// Covers reports whether i may do all that other may, and as far. When not, it names a scope that other has more of.
func Covers(demands []identity.Demand, i, other identity.Identity) (more string, ok bool) {
	for _, d := range demands {
		if ReachOf(other, d) > ReachOf(i, d) {
			return d.Scope, false
		}
	}
	return "", true
}
