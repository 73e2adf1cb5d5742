package parts

import (
	"fmt"
	"strings"

	"slipway.dev/pkg/pg"
)

// WithConns sets the size of the pool in a URL, or in a list of keywords and values, unless it is set already.
func WithConns(url string, n int) string {
	const key = "pool_max_conns="
	switch {
	case strings.Contains(url, key):
		return url
	case !strings.Contains(url, "://"): // keywords and values
		return fmt.Sprintf("%s %s%d", url, key, n)
	case strings.Contains(url, "?"):
		return fmt.Sprintf("%s&%s%d", url, key, n)
	default:
		return fmt.Sprintf("%s?%s%d", url, key, n)
	}
}

// Shares returns the share of PostgreSQL's connections of each service, with the given number of replicas.
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
