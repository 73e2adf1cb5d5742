package obs

import "github.com/prometheus/client_golang/prometheus"

var findings = prometheus.NewDesc("slipway_fsck_findings",
	"Findings of the last consistency check, by kind; absent in processes that do not run the check.", []string{"kind"}, nil)

// found asks what was found when somebody looks at the metrics.
type found func() map[string]int

// Findings tells what the last audit found, by kind. f answers nil where no audit ran.
func (o *Obs) Findings(f func() map[string]int) { o.registry.MustRegister(found(f)) }

// Describe implements prometheus.Collector.
func (f found) Describe(c chan<- *prometheus.Desc) { c <- findings }

// Collect implements prometheus.Collector.
func (f found) Collect(c chan<- prometheus.Metric) {
	for kind, n := range f() {
		c <- prometheus.MustNewConstMetric(findings, prometheus.GaugeValue, float64(n), kind)
	}
}
