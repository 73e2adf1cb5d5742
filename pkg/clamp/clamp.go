// Package clamp converts numbers to narrower types. A number that does not fit becomes the nearest that does.
package clamp

import "math"

type integer interface {
	~int | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Int32 returns n, or the nearest end of the range.
func Int32[T integer](n T) int32 {
	switch {
	case n > 0 && uint64(n) > math.MaxInt32: // #nosec G115 -- above zero
		return math.MaxInt32
	case n < 0 && int64(n) < math.MinInt32: // #nosec G115 -- below zero, so T has a sign
		return math.MinInt32
	}
	return int32(n) // #nosec G115 -- bounded above
}

// Int64 returns n, or the largest int64.
func Int64(n uint64) int64 {
	return int64(min(n, math.MaxInt64)) // #nosec G115 -- bounded
}

// Uint returns n, or 0 if n is negative.
func Uint[T ~int | ~int32 | ~int64](n T) uint {
	return uint(max(n, 0)) // #nosec G115 -- bounded
}
