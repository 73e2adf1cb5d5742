// Package clamp makes numbers fit: what is too large for its type becomes the largest that it holds, never another number.
package clamp

import "math"

type integer interface {
	~int | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Int32 is n, or the end of the range that is nearest.
func Int32[T integer](n T) int32 {
	switch {
	case n > 0 && uint64(n) > math.MaxInt32: // #nosec G115 -- above zero
		return math.MaxInt32
	case n < 0 && int64(n) < math.MinInt32: // #nosec G115 -- below zero, so T has a sign
		return math.MinInt32
	}
	return int32(n) // #nosec G115 -- bounded above
}

// Int64 is n, or the largest that there is.
func Int64(n uint64) int64 {
	return int64(min(n, math.MaxInt64)) // #nosec G115 -- bounded
}

// Uint is n, or 0 for less.
func Uint[T ~int | ~int32 | ~int64](n T) uint {
	return uint(max(n, 0)) // #nosec G115 -- bounded
}
