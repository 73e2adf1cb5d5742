// Package obs shows an operator how a process does: metrics for Prometheus and the two questions of a supervisor, whether
// it lives and whether it can work. It answers on a port of its own that nobody outside reaches.
package obs

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Obs is what one process tells of itself. Give it what to watch, then Run it.
type Obs struct {
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
	requests *prometheus.HistogramVec
	ready    []func(context.Context) error
	leaving  atomic.Bool
}

// buckets reach from a look-up in memory to the longest request, coarsely: each costs a series for each method.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}

// New makes one that tells of the Go runtime and the process. Ready are asked for /readyz, in order; all must answer nil.
func New(ready ...func(context.Context) error) *Obs {
	o := &Obs{
		registry: prometheus.NewRegistry(),
		ready:    ready,
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "slipway_rpc_seconds", Help: "Calls that this service answered, by service, method and gRPC code.", Buckets: buckets,
		}, []string{"service", "method", "code"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "slipway_http_seconds", Help: "HTTP requests that the gateway answered, by method, API and status.", Buckets: buckets,
		}, []string{"method", "api", "status"}),
	}
	o.registry.MustRegister(
		o.calls, o.requests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return o
}

// Leave makes /readyz say no: the process is about to stop and shall get nothing new.
func (o *Obs) Leave() { o.leaving.Store(true) }
