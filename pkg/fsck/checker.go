package fsck

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	fsckpb "slipway.dev/proto/fsck/v1"

	"slipway.dev/pkg/lead"
)

// Report is the result of running every check once.
type Report struct {
	Findings []Finding
	// Unchecked names what could not be checked, and why. While it is not empty, a lack of findings proves nothing.
	Unchecked []string
	// Counts says how many objects of each sort were compared, such as "hosts".
	Counts map[string]int
}

// Service is a service of the installation that answers CheckService.
type Service struct {
	Name string
	Conn grpc.ClientConnInterface
}

// Config is what a Checker runs.
type Config struct {
	// World compares the database with the state of the nodes.
	World func(context.Context) (Report, error)
	// Services are asked for the checks that they registered.
	Services []Service
	// Kinds lists the kinds of findings that World and Services may report besides those of this package.
	Kinds []string
}

// Checker runs the consistency check of an installation: the checks of all of its services.
type Checker struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex
	last map[string]int
}

// NewChecker returns a Checker.
func NewChecker(cfg Config, log *slog.Logger) *Checker { return &Checker{cfg: cfg, log: log} }

// Settled runs every check, and if there are findings runs all checks again after the time settle. It returns the findings that
// both runs have: work goes on meanwhile, and a change that was half done in the first run is complete in the second.
func (c *Checker) Settled(ctx context.Context, settle time.Duration) (Report, error) {
	r, err := c.look(ctx)
	if err != nil || len(r.Findings) == 0 {
		return r, err
	}
	select {
	case <-ctx.Done():
		return r, ctx.Err()
	case <-time.After(settle):
	}
	again, err := c.look(ctx)
	if err != nil {
		return r, err
	}
	again.Findings = slices.DeleteFunc(again.Findings, func(f Finding) bool {
		return !slices.ContainsFunc(r.Findings, func(g Finding) bool { return f.Kind == g.Kind && f.Object == g.Object })
	})
	return again, nil
}

// look runs every check once.
func (c *Checker) look(ctx context.Context) (Report, error) {
	r, err := c.cfg.World(ctx)
	if err != nil {
		return r, err
	}
	for _, s := range c.cfg.Services {
		resp, err := fsckpb.NewCheckServiceClient(s.Conn).Inspect(ctx, &fsckpb.InspectRequest{})
		if err != nil {
			r.Unchecked = append(r.Unchecked, fmt.Sprintf("%s: %v", s.Name, err))
		}
		for _, f := range resp.GetFindings() {
			r.Findings = append(r.Findings, Finding{Kind: f.GetKind(), Object: f.GetObject(), Detail: f.GetDetail()})
		}
	}
	return r, nil
}

// settleTime is how long a periodic check waits before its second run.
const settleTime = 5 * time.Second

// Duty returns the periodic check, for the leader. Its findings go to the log and to Findings.
func (c *Checker) Duty(every time.Duration) lead.Duty {
	return lead.Duty{Name: "fsck", Run: func(ctx context.Context, _ *lead.Leader) error {
		defer c.forget()
		return c.lead(ctx, every)
	}}
}

// lead runs the check periodically until ctx ends.
func (c *Checker) lead(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		r, err := c.Settled(ctx, settleTime)
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn("fsck", "err", err)
			}
			continue
		}
		for _, f := range r.Findings {
			c.log.Warn("fsck", "kind", f.Kind, "object", f.Object, "detail", f.Detail)
		}
		for _, u := range r.Unchecked {
			c.log.Warn("fsck: not checked", "what", u)
		}
		c.keep(r.Findings)
	}
}

// Findings returns how many findings of each kind the last periodic check of this process had, for a gauge. It returns nil if
// another process leads or no check was made yet.
func (c *Checker) Findings() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// keep stores the number of findings of each kind for Findings.
func (c *Checker) keep(list []Finding) {
	counts := map[string]int{}
	for _, k := range slices.Concat(kinds, c.cfg.Kinds) {
		counts[k] = 0
	}
	for _, f := range list {
		if _, known := counts[f.Kind]; !known {
			f.Kind = ReportDifferent
		}
		counts[f.Kind]++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = counts
}

// forget drops the last result, because another process leads and has newer ones.
func (c *Checker) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = nil
}
