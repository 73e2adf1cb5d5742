// Package stamp writes times as the API shows them.
package stamp

import "time"

// Text returns a time in UTC, to the second: "2006-01-02 15:04:05".
func Text(t time.Time) string { return t.UTC().Format(time.DateTime) }
