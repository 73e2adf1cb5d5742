package query

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/stamp"
)

// cast returns the SQL type of a parameter that is compared with a field of this type.
func (t Type) cast() string {
	switch t {
	case Int:
		return "bigint"
	case Bool:
		return "boolean"
	case Time:
		return "timestamptz"
	case IP:
		return "inet"
	default:
		return "text"
	}
}

// read parses the text of a value of this type.
func (t Type) read(value string) (any, error) {
	switch t {
	case Int:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", fault.Clip(value))
		}
		return n, nil
	case Bool:
		switch strings.ToLower(value) {
		case "true", "1", "on", "yes":
			return true, nil
		case "false", "0", "off", "no":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", fault.Clip(value))
	case Time:
		if t, err := time.Parse(pgTime, value); err == nil {
			return t, nil
		}
		t, err := stamp.Parse(value)
		if err != nil {
			return nil, err
		}
		return t, nil
	case IP:
		a, err := parseAddr(value)
		if err != nil {
			return nil, fmt.Errorf("%q is not an address", fault.Clip(value))
		}
		return a, nil
	case Mail:
		value = plus(value)
	}
	return value, plain(value)
}

// pgTime is the layout in which PostgreSQL writes the times of cursors.
const pgTime = "2006-01-02 15:04:05.999999-07"

// parseAddr reads an address without a zone, which PostgreSQL's inet does not have.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	return a.WithZone("").Unmap(), err
}

func plus(s string) string { return strings.ReplaceAll(s, " ", "+") }

// plain returns an error if PostgreSQL's text cannot hold s.
func plain(s string) error {
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return fmt.Errorf("not a text")
	}
	return nil
}
