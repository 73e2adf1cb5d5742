package obs

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/outbox"
)

// scrapeWithin bounds the queries of one scrape.
const scrapeWithin = 3 * time.Second

var (
	poolConns = desc("slipway_db_connections", "Connections of the pool.", "service", "state")
	poolWaits = desc("slipway_db_waits_total", "How often somebody waited for a connection.", "service")
	poolWait  = desc("slipway_db_wait_seconds_total", "How long all who waited for a connection did so.", "service")

	outboxRows = desc("slipway_outbox_events", "Events that committed and are not on the bus yet.", "service")
	outboxAge  = desc("slipway_outbox_age_seconds", "Age of the oldest of them.", "service")

	jobCount = desc("slipway_jobs", "Jobs that are not over.", "service", "kind", "state")
	jobAge   = desc("slipway_jobs_age_seconds", "Age of the oldest of them.", "service", "kind", "state")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Database tells of a service's pool and of the events that wait in its outbox.
func (o *Obs) Database(service string, pool *pgxpool.Pool) {
	o.registry.MustRegister(collector(func(ctx context.Context, c chan<- prometheus.Metric) error {
		s := pool.Stat()
		gauge(c, poolConns, float64(s.AcquiredConns()), service, "used")
		gauge(c, poolConns, float64(s.IdleConns()), service, "idle")
		gauge(c, poolConns, float64(s.MaxConns()), service, "max")
		c <- prometheus.MustNewConstMetric(poolWaits, prometheus.CounterValue, float64(s.EmptyAcquireCount()), service)
		c <- prometheus.MustNewConstMetric(poolWait, prometheus.CounterValue, s.EmptyAcquireWaitTime().Seconds(), service)
		n, age, err := outbox.Waiting(ctx, pool)
		if err != nil {
			return err
		}
		gauge(c, outboxRows, float64(n), service)
		gauge(c, outboxAge, age.Seconds(), service)
		return nil
	}))
}

// Jobs tells of the jobs of a service that are not over.
func (o *Obs) Jobs(service string, pool *pgxpool.Pool) {
	o.registry.MustRegister(collector(func(ctx context.Context, c chan<- prometheus.Metric) error {
		list, err := jobs.Waiting(ctx, pool)
		for _, w := range list {
			gauge(c, jobCount, float64(w.Count), service, w.Kind, string(w.State))
			gauge(c, jobAge, w.Age.Seconds(), service, w.Kind, string(w.State))
		}
		return err
	}))
}

func gauge(c chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// collector asks when it is scraped. What it cannot find out is left out: a database that is away must not take the rest
// of the metrics with it.
type collector func(context.Context, chan<- prometheus.Metric) error

// Describe names nothing, which makes it an unchecked collector.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f collector) Collect(c chan<- prometheus.Metric) {
	ctx, stop := context.WithTimeout(context.Background(), scrapeWithin)
	defer stop()
	_ = f(ctx, c) // readyz tells about the database
}
