package check

import (
	"context"
	"errors"
	"time"
)

// nodes asks the installation for its nodes.
func nodes(ctx context.Context, c Config, r *Report) error {
	if c.API == nil {
		return errors.New("no installation is named")
	}
	list, err := c.API.Nodes(ctx)
	if err != nil {
		return err
	}
	if len(list) < 2 {
		r.miss("nodes", "there are %d nodes: hosts have nowhere to be created while one is away", len(list))
	}
	for _, n := range list {
		if n.State != "active" {
			r.miss("nodes", "node %d (%s) is %s", n.ID, n.Name, n.State)
		}
		if n.Breaker == "open" {
			r.miss("nodes", "the breaker of node %d (%s) is open: leftovers are not removed", n.ID, n.Name)
		}
		room(r, "the storage of node "+n.Name, float64(n.Storage.Available), float64(n.Storage.Size))
	}
	return nil
}

// settle is how long the consistency check waits before it looks again at what it found.
const settle = 2 * time.Second

// consistency runs the consistency check.
func consistency(ctx context.Context, c Config, r *Report) error {
	if c.API == nil {
		return errors.New("no installation is named")
	}
	rep, err := c.API.Check(ctx, settle)
	if err != nil {
		return err
	}
	for _, f := range rep.Findings {
		r.miss("consistency", "%s %s: %s", f.Kind, f.Object, f.Detail)
	}
	for _, u := range rep.Unchecked {
		r.skip("consistency: %s", u)
	}
	if rep.Clean() {
		r.fact("records and machines agree: %d hosts on %d nodes", rep.Hosts, rep.Nodes)
	}
	return nil
}
