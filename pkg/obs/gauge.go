package obs

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// Desc describes a gauge or a counter by its name, help text and labels.
func Desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Set sets a gauge or a counter in one scrape; labels are values in the order of the description.
type Set func(d *prometheus.Desc, v float64, labels ...string)

// Gauges adds gauges that read sets at every scrape. A gauge that read does not set is left out of the scrape.
func (o *Obs) Gauges(read func(ctx context.Context, set Set) error) {
	o.Metrics(func(ctx context.Context, gauge, _ Set) error { return read(ctx, gauge) })
}

// Metrics adds gauges and counters that read sets at every scrape. What read does not set is left out of the scrape.
func (o *Obs) Metrics(read func(ctx context.Context, gauge, counter Set) error) {
	o.registry.MustRegister(collector(func(ctx context.Context, c chan<- prometheus.Metric) error {
		set := func(t prometheus.ValueType) Set {
			return func(d *prometheus.Desc, v float64, labels ...string) {
				c <- prometheus.MustNewConstMetric(d, t, v, labels...)
			}
		}
		return read(ctx, set(prometheus.GaugeValue), set(prometheus.CounterValue))
	}))
}

func gauge(c chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// collector collects metrics when it is scraped. Metrics that cannot be read are left out: a database that is away must not
// take the rest of the metrics with it.
type collector func(context.Context, chan<- prometheus.Metric) error

// Describe names nothing, which makes the collector an unchecked one.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f collector) Collect(c chan<- prometheus.Metric) {
	ctx, stop := context.WithTimeout(context.Background(), scrapeTimeout)
	defer stop()
	_ = f(ctx, c) // /readyz reports the database
}
