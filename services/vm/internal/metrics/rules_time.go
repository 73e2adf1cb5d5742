package metrics

import (
	"strconv"
	"strings"
	"time"

	"slipway.dev/pkg/fault"
)

const (
	defaultAge = 24 * time.Hour
	maxSpan    = 2 * 366 * 24 * time.Hour
	// clock is the form of a time that clients of VMmanager send.
	clock = "15:04_20060102"
)

// ask is the time as a request spells it.
type ask struct{ from, until, interval, output string }

// span returns the time that is asked about.
func (a ask) span(now time.Time) (s span, err error) {
	switch a.output {
	case "", "series":
	case "single":
		s.single = true
	default:
		return s, fault.Invalid.With("neither series nor single").On("output")
	}
	s.until = now
	if a.until != "" {
		if s.until, err = moment(a.until, now); err != nil {
			return s, on(err, "until")
		}
	}
	switch {
	case a.interval != "" && a.from != "":
		return s, fault.Invalid.With("the begin is named already, by from").On("interval")
	case a.interval != "":
		if s.from, err = before(s.until, a.interval); err != nil {
			return s, on(err, "interval")
		}
	case a.from != "":
		if s.from, err = moment(a.from, now); err != nil {
			return s, on(err, "from")
		}
	default:
		s.from = s.until.Add(-defaultAge)
	}
	switch d := s.until.Sub(s.from); {
	case d < time.Second:
		return s, fault.Invalid.With("not before the end").On("from")
	case d > maxSpan:
		return s, fault.Invalid.With("more than two years before the end").On("from")
	}
	return s, nil
}

func on(err error, field string) error { return fault.Invalid.With("%s", err).On(field) }

// moment returns the time in one of the three forms.
func moment(text string, now time.Time) (time.Time, error) {
	if age, relative := strings.CutPrefix(text, "-"); relative {
		return before(now, age)
	}
	if t, err := time.Parse(clock, text); err == nil {
		return t, nil
	}
	if unix, err := strconv.ParseInt(text, 10, 40); err == nil && unix >= 0 {
		return time.Unix(unix, 0).UTC(), nil
	}
	return time.Time{}, errTime
}

var errTime = fault.Invalid.With("not a time like 15:04_20260131, 1767225600 or -24h")

// before returns the time a number of units before t: months and years are those of the calendar.
func before(t time.Time, age string) (time.Time, error) {
	digits := strings.TrimRight(age, "abcdefghijklmnopqrstuvwxyz")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > 100_000 {
		return t, errTime
	}
	switch strings.TrimSuffix(age[len(digits):], "s") {
	case "min", "minute":
		return t.Add(-time.Duration(n) * time.Minute), nil
	case "h", "hour":
		return t.Add(-time.Duration(n) * time.Hour), nil
	case "d", "day":
		return t.AddDate(0, 0, -n), nil
	case "w", "week":
		return t.AddDate(0, 0, -7*n), nil
	case "mon", "month":
		return t.AddDate(0, -n, 0), nil
	case "y", "year":
		return t.AddDate(-n, 0, 0), nil
	}
	return t, errTime
}
