package hostname_test

import (
	"strings"
	"testing"

	"slipway.dev/pkg/hostname"
)

func TestParse(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	longest := long + "." + long + "." + long + "." + strings.Repeat("b", 61)
	for in, want := range map[string]string{
		"web1.example.com": "web1.example.com", " Web1.EXAMPLE.com. ": "web1.example.com", "localhost": "localhost",
		"4.example.com": "4.example.com", "r3---sn-x.example": "r3---sn-x.example", "a-b.c-d": "a-b.c-d",
		"München.example": "xn--mnchen-3ya.example", "xn--mnchen-3ya.example": "xn--mnchen-3ya.example",
		"MU\u0308NCHEN.example": "xn--mnchen-3ya.example", "пример.испытание": "xn--e1afmkfd.xn--80akhbyknj4f",
		"ｗｗｗ.example": "www.example", "straße.example": "xn--strae-oqa.example", "例え。テスト。": "xn--r8jz45g.xn--zckzah",
		longest: longest, longest + ".": longest,
	} {
		if got, err := hostname.Parse(in); err != nil || got != want {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ".", "..", "a..b", ".a", "a.b..", "under_score.example", "_srv.example", "a_.b", "-a.b", "a-.b", "a b.c", "a/b", "*.example",
		"192.0.2.1", "a.1", "12", "xn--a.example", "xn--.example", "a\nb.c", "a\x00b", "\xff.example", "a@b", "ex ample",
		long + "a.example", longest + "b", longest + "bb.", strings.Repeat("ä", 64) + ".example", strings.Repeat("a.", 2000),
	} {
		if got, err := hostname.Parse(in); err == nil {
			t.Errorf("%q became %q", in, got)
		} else if !strings.HasPrefix(err.Error(), "not a host name: ") { // callers write: "…" is not a host name
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestLabel(t *testing.T) {
	t.Parallel()
	if a, b := hostname.Label("web1.example.com"), hostname.Label("web1"); a != "web1" || b != "web1" {
		t.Error(a, b)
	}
}
