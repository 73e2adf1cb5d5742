package clamp_test

import (
	"math"
	"testing"

	"slipway.dev/pkg/clamp"
)

func TestInt32(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ got, want int32 }{
		{clamp.Int32(0), 0},
		{clamp.Int32(-7), -7},
		{clamp.Int32(uint8(200)), 200},
		{clamp.Int32(int64(math.MaxInt32)), math.MaxInt32},
		{clamp.Int32(int64(math.MaxInt32) + 1), math.MaxInt32},
		{clamp.Int32(uint64(math.MaxUint64)), math.MaxInt32},
		{clamp.Int32(uint32(1 << 31)), math.MaxInt32},
		{clamp.Int32(int64(math.MinInt32)), math.MinInt32},
		{clamp.Int32(int64(math.MinInt32) - 1), math.MinInt32},
		{clamp.Int32(int64(math.MinInt64)), math.MinInt32},
	} {
		if tt.got != tt.want {
			t.Errorf("got %d, want %d", tt.got, tt.want)
		}
	}
	if n := clamp.Int64(math.MaxUint64); n != math.MaxInt64 {
		t.Errorf("Int64: %d", n)
	}
	if n := clamp.Uint(-1); n != 0 {
		t.Errorf("Uint: %d", n)
	}
}
