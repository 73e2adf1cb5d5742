package inet_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"slipway.dev/services/ip/internal/inet"
)

func addr(t *rapid.T, six bool, label string) netip.Addr {
	n := 4
	if six {
		n = 16
	}
	a, ok := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label))
	if !ok {
		t.Fatal("no address")
	}
	return a
}

// TestParseRange: what is written as an address, a pair or a prefix is read as that, and nothing else is read at all.
func TestParseRange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := addr(t, rapid.Bool().Draw(t, "six"), "a")
		if a.Is4In6() {
			t.Skip("not an address of ours")
		}
		b := a
		for range rapid.IntRange(0, 300).Draw(t, "distance") {
			if next := b.Next(); next.IsValid() && !next.Is4In6() {
				b = next
			}
		}
		r, err := inet.ParseRange(a.String() + " - " + b.String())
		if err != nil || r.First != a || r.Last != b || !r.Contains(a) || !r.Contains(b) {
			t.Fatalf("%s-%s: %+v %v", a, b, r, err)
		}
		if b != a {
			if _, err := inet.ParseRange(b.String() + "-" + a.String()); err == nil {
				t.Fatal("backwards")
			}
		}
		one, err := inet.ParseRange(a.String())
		if err != nil || one.First != a || one.Last != a || one.Size() != 1 {
			t.Fatalf("%s: %+v %v", a, one, err)
		}
		bits := rapid.IntRange(a.BitLen()-16, a.BitLen()).Draw(t, "bits")
		p := netip.PrefixFrom(a, bits).Masked()
		if p.Addr().Is4In6() {
			t.Skip("not a prefix of ours")
		}
		whole, err := inet.ParseRange(p.String())
		if err != nil || !whole.In(p) || whole.First != p.Addr() || whole.Size() != 1<<(a.BitLen()-bits) || !whole.Contains(a) {
			t.Fatalf("%s: %+v %v", p, whole, err)
		}
		if next := whole.Last.Next(); next.IsValid() && (p.Contains(next) || whole.Contains(next)) {
			t.Fatalf("%s goes on", p)
		}
		if p.Addr() != a {
			if _, err := inet.ParseRange(netip.PrefixFrom(a, bits).String()); err == nil {
				t.Fatalf("%s has host bits", netip.PrefixFrom(a, bits))
			}
		}
	})
}

// TestParseRangeAnything: any text is a range or a fault of the field, and what is read back from a name is the same.
func TestParseRangeAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-9a-f.:/ -]{0,40}`)).Draw(t, "text")
		r, err := inet.ParseRange(text)
		if err != nil {
			return
		}
		again, err := inet.ParseRange(r.Name)
		if err != nil || again != r || r.Last.Less(r.First) || r.Size() < 1 {
			t.Fatalf("%q: %+v, again %+v %v", text, r, again, err)
		}
	})
}

// TestGap against the plain way to do it.
func TestGap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := addr(t, true, "from")
		used, set := []netip.Addr{}, map[netip.Addr]bool{}
		for a := range 20 {
			_ = a
			if rapid.IntRange(0, 4).Draw(t, "used") > 0 {
				used, set[from] = append(used, from), true
			}
			if from = from.Next(); !from.IsValid() {
				t.Skip("the end of all addresses")
			}
		}
		if len(used) == 0 {
			t.Skip("nothing used")
		}
		want := used[0]
		for set[want] {
			want = want.Next()
		}
		if got := inet.Gap(used[0], used); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

func TestReserved(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		prefix string
		first  string
		usable int64
	}{
		{"192.0.2.0/24", "192.0.2.1", 254},
		{"192.0.2.0/30", "192.0.2.1", 2},
		{"192.0.2.0/31", "192.0.2.0", 2},
		{"2001:db8::/120", "2001:db8::1", 255},
		{"2001:db8::/127", "2001:db8::", 2},
		{"2001:db8::/64", "2001:db8::1", 1<<31 - 2},
	} {
		p := netip.MustParsePrefix(tt.prefix)
		r, err := inet.ParseRange(tt.prefix)
		if err != nil || inet.FirstUsable(p).String() != tt.first || r.Usable(p) != tt.usable {
			t.Errorf("%s: first %s, usable %d, %v", p, inet.FirstUsable(p), r.Usable(p), err)
		}
	}
}
