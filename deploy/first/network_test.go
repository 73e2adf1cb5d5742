package first

import (
	"net"
	"net/netip"
	"testing"
)

func TestFreePrefix(t *testing.T) {
	t.Parallel()
	p, err := FreePrefix("stack")
	if err != nil || p.Bits() != 24 || !netip.MustParsePrefix("10.64.0.0/10").Overlaps(p) {
		t.Fatalf("prefix %s %v", p, err)
	}
	if again, err := FreePrefix("stack"); err != nil || again != p {
		t.Errorf("the same stack gets %s, then %s %v", p, again, err)
	}
	near := &net.IPNet{IP: p.Addr().Next().AsSlice(), Mask: net.CIDRMask(16, 32)}
	far := &net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}
	if !overlaps(p, []net.Addr{far, near}) || overlaps(p, []net.Addr{far}) {
		t.Errorf("overlap of %s with %s and %s", p, near, far)
	}
}
