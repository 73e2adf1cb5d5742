package parts

import (
	"fmt"
	"strings"

	"slipway.dev/pkg/pg"
)

// WithConns bounds the pool that is made of a URL, unless the URL does.
func WithConns(url string, n int) string {
	const key = "pool_max_conns="
	switch {
	case strings.Contains(url, key):
		return url
	case strings.Contains(url, "?"):
		return fmt.Sprintf("%s&%s%d", url, key, n)
	default:
		return fmt.Sprintf("%s?%s%d", url, key, n)
	}
}

// Shares returns what the processes of each service have of PostgreSQL's connections, with so many replicas of each.
func Shares(table []Part, replicas int) map[string]pg.Share {
	shares := map[string]pg.Share{}
	for _, p := range Services(table) {
		shares[p.Name] = pg.Share{Replicas: 1, Weight: p.Weight}
		if p.Replicable {
			shares[p.Name] = pg.Share{Replicas: max(1, replicas), Weight: p.Weight}
		}
	}
	return shares
}
