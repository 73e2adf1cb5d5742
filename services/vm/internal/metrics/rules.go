// Package metrics shows what hosts used. The samples are those that the agents of the nodes offer to the installation's metrics
// server, anything that answers the HTTP API of Prometheus.
package metrics

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/fault"
)

const (
	maxTargets = 8
	maxPoints  = 300
	minStep    = 15 * time.Second
	// minWindow is the shortest time over which rates are taken: some samples of a server that scrapes every 15 s.
	minWindow = time.Minute
	mib       = 1 << 20
)

// A target is what clients can ask for.
type target struct {
	// series is the query for a value at a time. {of} stands for the labels of the machine, {window} for the time over which
	// rates and sums are taken.
	series string
	sum    bool // the value of a time is the sum over it, not the mean
}

// rate returns the target of a counter.
func rate(name string) target { return target{series: "sum(rate(" + name + "{of}[{window}]))"} }

// targets are those of VMmanager 6, and those of disks.
var targets = map[string]target{
	"cpu_load": {series: "100 * sum(rate(slipway_machine_cpu_seconds_total{of}[{window}])) / sum(slipway_machine_cpus{of})"},
	"mem_usage": {
		series: fmt.Sprintf("sum(slipway_machine_memory_used_bytes{of}) / %d", mib),
	},
	"df.root.used": {
		series: fmt.Sprintf(`sum(slipway_machine_filesystem_used_bytes{of,mountpoint="/"}) / %d`, mib),
	},
	"net_rx":          rate("slipway_machine_network_received_bytes_total"),
	"net_tx":          rate("slipway_machine_network_sent_bytes_total"),
	"net_rx_summary":  {series: "sum(increase(slipway_machine_network_received_bytes_total{of}[{window}]))", sum: true},
	"net_tx_summary":  {series: "sum(increase(slipway_machine_network_sent_bytes_total{of}[{window}]))", sum: true},
	"disk_read":       rate("slipway_machine_disk_read_bytes_total"),
	"disk_write":      rate("slipway_machine_disk_written_bytes_total"),
	"disk_read_iops":  rate("slipway_machine_disk_reads_total"),
	"disk_write_iops": rate("slipway_machine_disk_writes_total"),
}

// span is the time that a request asks about.
type span struct {
	from, until time.Time
	single      bool
}

// step is the time between two values of a series.
func (s span) step() time.Duration {
	step := (s.until.Sub(s.from) + maxPoints - 1) / maxPoints
	return max(minStep, (step + time.Second - 1).Truncate(time.Second))
}

// query returns the query for the target of a machine over the time: one value at the end of a single span, else one at each step.
func (t target) query(machine uuid.UUID, s span) string {
	window := s.step()
	if s.single && t.sum {
		window = s.until.Sub(s.from)
	} else if !t.sum {
		window = max(window, minWindow)
	}
	q := strings.NewReplacer("{of,", fmt.Sprintf(`{machine="%s",`, machine), "{of}", fmt.Sprintf(`{machine="%s"}`, machine),
		"{window}", seconds(window)).Replace(t.series)
	if s.single && !t.sum {
		return "avg_over_time((" + q + ")[" + seconds(s.until.Sub(s.from)) + ":" + seconds(s.step()) + "])"
	}
	return q
}

// seconds returns d as the metrics server spells it.
func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int64(d/time.Second)) }

// choose returns the targets that a client names.
func choose(names []string) ([]target, error) {
	if len(names) > maxTargets {
		return nil, fault.Invalid.With("more than %d targets", maxTargets).On("target")
	}
	list := make([]target, len(names))
	for i, name := range names {
		t, known := targets[name]
		if !known {
			return nil, fault.Invalid.With("%q is none of the targets", fault.Clip(name)).On("target")
		}
		list[i] = t
	}
	return list, nil
}
