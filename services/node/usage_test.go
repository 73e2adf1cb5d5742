package node

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/obs"
	"slipway.dev/services/node/internal/hyper"
)

type sampled struct {
	hyper.Driver
	list []hyper.Usage
}

func (d sampled) Usage(context.Context) ([]hyper.Usage, error) { return d.list, nil }

// TestUsageIsScraped: a scrape has a line for each machine, disk and card, with the machine's UUID and host.
func TestUsageIsScraped(t *testing.T) {
	t.Parallel()
	s := &Service{driver: sampled{list: []hyper.Usage{{
		UUID: uuid.MustParse("00000000-0000-4000-8000-000000000001"), HostID: 7, CPUs: 2, CPU: 1500 * time.Millisecond,
		Memory: hyper.MemoryUsage{Total: 512 << 20, Used: 100 << 20},
		Disks:  []hyper.DiskUsage{{Name: "disk0", Read: 1, Written: 2, Reads: 3, Writes: 4}},
		Cards:  []hyper.CardUsage{{Received: 5, Sent: 6, ReceivedPackets: 7, SentPackets: 8}},
	}}}}
	o := obs.New()
	o.Metrics(s.usage)
	w := httptest.NewRecorder()
	o.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	const of = `host="7",machine="00000000-0000-4000-8000-000000000001"`
	for _, want := range []string{
		`cpu_seconds_total{` + of + `} 1.5`, `cpus{` + of + `} 2`,
		`memory_bytes{` + of + `} 5.36870912e+08`, `memory_used_bytes{` + of + `} 1.048576e+08`,
		`disk_read_bytes_total{disk="disk0",` + of + `} 1`, `disk_written_bytes_total{disk="disk0",` + of + `} 2`,
		`disk_reads_total{disk="disk0",` + of + `} 3`, `disk_writes_total{disk="disk0",` + of + `} 4`,
		`network_received_bytes_total{card="0",` + of + `} 5`, `network_sent_bytes_total{card="0",` + of + `} 6`,
		`network_received_packets_total{card="0",` + of + `} 7`, `network_sent_packets_total{card="0",` + of + `} 8`,
	} {
		if !strings.Contains(string(text), "slipway_machine_"+want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	for _, line := range []string{"# TYPE slipway_machine_cpu_seconds_total counter", "# TYPE slipway_machine_cpus gauge"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("no %s", line)
		}
	}
}
