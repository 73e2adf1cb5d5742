package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

var (
	now = time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	id  = uuid.MustParse("00000000-0000-4000-8000-000000000001")
)

func TestSpan(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ask  ask
		from string
		last string
	}{
		{ask{}, "2026-03-30T12:00:00Z", "2026-03-31T12:00:00Z"},
		{ask{from: "23:15_20260329"}, "2026-03-29T23:15:00Z", "2026-03-31T12:00:00Z"},
		{ask{from: "1774915200"}, "2026-03-31T00:00:00Z", "2026-03-31T12:00:00Z"},
		{ask{from: "-90min", until: "-1h"}, "2026-03-31T10:30:00Z", "2026-03-31T11:00:00Z"},
		{ask{interval: "1month"}, "2026-03-03T12:00:00Z", "2026-03-31T12:00:00Z"},
		{ask{interval: "2days", until: "00:00_20260303"}, "2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z"},
		{ask{interval: "1w"}, "2026-03-24T12:00:00Z", "2026-03-31T12:00:00Z"},
		{ask{interval: "1year"}, "2025-03-31T12:00:00Z", "2026-03-31T12:00:00Z"},
	} {
		s, err := tt.ask.span(now)
		if from, last := s.from.Format(time.RFC3339), s.until.Format(time.RFC3339); err != nil || from != tt.from || last != tt.last {
			t.Errorf("%+v: %s to %s, %v; want %s to %s", tt.ask, from, last, err, tt.from, tt.last)
		}
	}
}

func TestSpanIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ask   ask
		field string
	}{
		{ask{output: "png"}, "output"},
		{ask{from: "yesterday"}, "from"},
		{ask{from: "25:00_20260101"}, "from"},
		{ask{from: "-1"}, "from"},
		{ask{from: "-24x"}, "from"},
		{ask{from: "-1h", until: "-2h"}, "from"},
		{ask{from: "-3y"}, "from"},
		{ask{from: "99999999999999"}, "from"},
		{ask{until: "-"}, "until"},
		{ask{interval: "month"}, "interval"},
		{ask{interval: "0h"}, "interval"},
		{ask{interval: "-1h"}, "interval"},
		{ask{interval: "1h", from: "-1h"}, "interval"},
		{ask{interval: "999999999y"}, "interval"},
		{ask{interval: "5"}, "interval"},
	} {
		if _, err := tt.ask.span(now); err == nil || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("%+v: %v", tt.ask, err)
		}
	}
}

// TestQuery: a query names the machine alone, whatever the target; a series has at most 300 values; single is one value.
func TestQuery(t *testing.T) {
	t.Parallel()
	s := span{from: now.Add(-24 * time.Hour), until: now}
	if n := s.until.Sub(s.from) / s.step(); n > maxPoints {
		t.Errorf("%d values", n)
	}
	for name, tt := range targets {
		q := tt.query(id, s)
		if strings.Count(q, "{machine=\""+id.String()+"\"") != strings.Count(q, "slipway_machine_") || strings.ContainsAny(q, "\n") || strings.Contains(q, "{of") {
			t.Errorf("%s: %s", name, q)
		}
	}
	single := s
	single.single = true
	for _, tt := range []struct {
		target string
		span   span
		want   string
	}{
		{"net_rx", s, `sum(rate(slipway_machine_network_received_bytes_total{machine="` + id.String() + `"}[288s]))`},
		{"net_rx", single, `avg_over_time((sum(rate(slipway_machine_network_received_bytes_total{machine="` + id.String() + `"}[288s])))[86400s:288s])`},
		{"net_rx_summary", single, `sum(increase(slipway_machine_network_received_bytes_total{machine="` + id.String() + `"}[86400s]))`},
	} {
		if q := targets[tt.target].query(id, tt.span); q != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.target, q, tt.want)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{""}, {"cpu_load", "up"}, {`cpu_load{machine="x"}`}, strings.Split(strings.Repeat("net_rx ", 9), " ")[:9]} {
		if _, err := choose(names); err == nil || !strings.Contains(err.Error(), "target") {
			t.Errorf("%v: %v", names, err)
		}
	}
}
