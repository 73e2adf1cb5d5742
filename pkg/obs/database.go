package obs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
)

// scrapeTimeout bounds the queries of one scrape.
const scrapeTimeout = 3 * time.Second

var (
	poolConns = Desc("slipway_db_connections", "Connections of the pool.", "service", "state")
	poolWaits = Desc("slipway_db_waits_total", "How often a query waited for a connection.", "service")
	poolWait  = Desc("slipway_db_wait_seconds_total", "How long queries waited for a connection, in total.", "service")

	outboxRows = Desc("slipway_outbox_events", "Events that committed and are not on the bus yet.", "service")
	outboxAge  = Desc("slipway_outbox_age_seconds", "Age of the oldest of them.", "service")

	jobCount = Desc("slipway_jobs", "Jobs that are not over.", "service", "kind", "state")
	jobAge   = Desc("slipway_jobs_age_seconds", "Age of the oldest of them.", "service", "kind", "state")
)

// lateEvents is how long an event may wait for the bus before /readyz calls the service degraded.
const lateEvents = time.Minute

// Database adds metrics of a service's pool and of its outbox, and to /readyz how the database replicates and the age of the
// oldest event that waits.
func (o *Obs) Database(service string, pool *pgxpool.Pool) {
	o.Detail(func(ctx context.Context) string {
		text, _, err := pg.Replication(ctx, pool)
		if err != nil {
			return service + ": unknown how the database replicates"
		}
		return service + ": replication of the database is " + text
	})
	o.Detail(func(ctx context.Context) string {
		switch n, age, err := outbox.Waiting(ctx, pool); {
		case err != nil:
			return service + ": unknown how many events wait for the bus"
		case age > lateEvents:
			return fmt.Sprintf("%s: degraded: %d events wait for the bus, the oldest for %v", service, n, age.Round(time.Second))
		default:
			return fmt.Sprintf("%s: %d events wait for the bus, the oldest for %v", service, n, age.Round(time.Millisecond))
		}
	})
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

// Jobs adds metrics of the unfinished jobs of a service.
func (o *Obs) Jobs(service string, pool *pgxpool.Pool) {
	o.Gauges(func(ctx context.Context, set Set) error {
		list, err := jobs.Waiting(ctx, pool)
		for _, w := range list {
			set(jobCount, float64(w.Count), service, w.Kind, string(w.State))
			set(jobAge, w.Age.Seconds(), service, w.Kind, string(w.State))
		}
		return err
	})
}
