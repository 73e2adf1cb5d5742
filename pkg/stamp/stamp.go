// Package stamp writes times as the API shows them, and reads them as clients write them.
package stamp

import (
	"fmt"
	"time"

	"slipway.dev/pkg/fault"
)

// Text returns a time in UTC, to the second: "2006-01-02 15:04:05".
func Text(t time.Time) string { return t.UTC().Format(time.DateTime) }

// layouts of times that clients write. A time without a zone is in UTC; a day is its beginning.
var layouts = []string{time.DateTime, time.RFC3339, "2006-01-02T15:04:05", time.DateOnly}

// Parse reads a time: "2006-01-02 15:04:05", "2006-01-02T15:04:05", both with a fraction of a second or without, the latter also
// with a zone, or "2006-01-02".
func Parse(text string) (time.Time, error) {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as %q", fault.Clip(text), time.DateTime)
}
