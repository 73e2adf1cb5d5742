package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// leastCopies is how many servers must keep each stream: with fewer, one that fails stops the bus.
const leastCopies = 3

// theBus looks at the copies of each stream and whether they are up to date.
func theBus(ctx context.Context, c Config, r *Report) error {
	if c.NATS == "" {
		return errors.New("no URL is given")
	}
	nc, err := nats.Connect(c.NATS, nats.Timeout(partTime/4), nats.MaxReconnects(0))
	if err != nil {
		return err
	}
	defer nc.Close()
	if len(strings.Split(c.NATS, ",")) < leastCopies {
		r.miss("bus", "the URL names fewer than %d servers; name all, so that clients find the others", leastCopies)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var problems error
	for _, name := range c.Services {
		s, err := js.Stream(ctx, name)
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("stream %s: %w", name, err))
			continue
		}
		stream(r, name, s.CachedInfo())
	}
	return problems
}

func stream(r *Report, name string, info *jetstream.StreamInfo) {
	if n := info.Config.Replicas; n < leastCopies {
		r.miss("bus", "the stream %s has %d copies: set SLIPWAY_<SERVICE>_NATS_REPLICAS to %d on a cluster of three servers", name, n, leastCopies)
		return
	}
	if info.Cluster == nil || info.Cluster.Leader == "" {
		r.miss("bus", "the stream %s has no leader", name)
		return
	}
	behind := 0
	for _, p := range info.Cluster.Replicas {
		if p.Offline || !p.Current {
			behind++
			r.miss("bus", "the copy of the stream %s on %s is offline or behind", name, p.Name)
		}
	}
	if behind == 0 {
		r.fact("the stream %s has %d copies", name, info.Config.Replicas)
	}
}
