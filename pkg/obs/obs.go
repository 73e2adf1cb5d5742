// Package obs serves metrics for Prometheus and the health checks of a supervisor, /healthz and /readyz, on a port of their
// own that is not reachable from outside.
package obs

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Obs serves the metrics and health of one process. Add what to observe, then call Serve.
type Obs struct {
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
	requests *prometheus.HistogramVec
	ready    []func(context.Context) error
	details  []func(context.Context) string
	leaving  atomic.Bool
}

// buckets range from a look-up in memory to the longest request. They are few, because each costs a series for each method.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}

// New makes an Obs with metrics of the Go runtime and the process. /readyz calls ready in order; all must return nil.
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

// Leave makes /readyz fail: the process is about to stop and must get no new work.
func (o *Obs) Leave() { o.leaving.Store(true) }

// Detail adds a line to what /readyz answers. A process whose events wait for the bus, say, still answers requests and is ready.
func (o *Obs) Detail(line func(context.Context) string) { o.details = append(o.details, line) }
