package stamp_test

import (
	"testing"
	"time"

	"slipway.dev/pkg/stamp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-01-02 03:04:05": "2026-01-02T03:04:05Z", "2026-01-02T03:04:05": "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z": "2026-01-02T03:04:05Z",
		"2026-01-02T03:04:05+02:00": "2026-01-02T01:04:05Z", "2026-01-02": "2026-01-02T00:00:00Z", "2026-01-02 03:04:05.25": "2026-01-02T03:04:05.25Z",
		"2026-01-02T03:04:05.5+02:00": "2026-01-02T01:04:05.5Z",
		"":                            "", "soon": "", "2026-02-30": "", "2026-01-02 25:00:00": "", "02.01.2026": "", "1767322800": "", "2026-01-02 03:04": "", " 2026-01-02": "",
	} {
		got, err := stamp.Parse(text)
		if err != nil && want != "" || err == nil && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v %v, want %s", text, got, err, want)
		}
	}
	if got := stamp.Text(time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))); got != "2026-01-02 02:04:05" {
		t.Errorf("shown as %s", got)
	}
}
