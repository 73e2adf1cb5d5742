package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// leastCopies is how many servers must keep each stream: with fewer, one that fails stops the bus.
const leastCopies = 3

// A copy that is not up to date in any of these looks is missed.
const (
	looks        = 5
	betweenLooks = 400 * time.Millisecond
)

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
		info, err := settled(ctx, s)
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("stream %s: %w", name, err))
			continue
		}
		stream(r, name, info)
	}
	return problems
}

// settled looks at a stream until all of its copies are up to date, at most some times: while events come, a copy is behind for a
// moment now and then.
func settled(ctx context.Context, s jetstream.Stream) (info *jetstream.StreamInfo, err error) {
	for look := range looks {
		if look > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(betweenLooks):
			}
		}
		if info, err = s.Info(ctx); err != nil {
			return nil, err
		}
		if info.Cluster == nil || !slices.ContainsFunc(info.Cluster.Replicas, behind) {
			break
		}
	}
	return info, nil
}

// behind reports whether a copy is not up to date.
func behind(p *jetstream.PeerInfo) bool { return p.Offline || !p.Current }

func stream(r *Report, name string, info *jetstream.StreamInfo) {
	if n := info.Config.Replicas; n < leastCopies {
		r.miss("bus", "the stream %s has %d copies: set SLIPWAY_<SERVICE>_NATS_REPLICAS to %d on a cluster of three servers", name, n, leastCopies)
		return
	}
	if info.Cluster == nil || info.Cluster.Leader == "" {
		r.miss("bus", "the stream %s has no leader", name)
		return
	}
	missed := 0
	for _, p := range info.Cluster.Replicas {
		if behind(p) {
			missed++
			r.miss("bus", "the copy of the stream %s on %s is offline or behind", name, p.Name)
		}
	}
	if missed == 0 {
		r.fact("the stream %s has %d copies", name, info.Config.Replicas)
	}
}
