package address

import (
	"testing"
	"time"

	"slipway.dev/pkg/fault"
)

// TestRequests: what is asked for at the bounds is accepted, what lies beyond is refused on its field.
func TestRequests(t *testing.T) {
	t.Parallel()
	const id = "11111111-1111-4111-8111-111111111111"
	for name, tt := range map[string]struct {
		r     request
		lapse int32
		wish  string
		field string
	}{
		"nothing":         {request{Owner: id}, 0, "", ""},
		"the most":        {request{Owner: id, IPv4: 256, IPv6: 256, Any: 256}, 24 * 60 * 60, "", ""},
		"the least lapse": {request{Owner: id}, 1, "", ""},
		"a key":           {request{Owner: id, Key: tenant}, 1, " 192.0.2.1 ", ""},
		"no owner":        {request{}, 0, "", "owner"},
		"nil owner":       {request{Owner: "00000000-0000-0000-0000-000000000000"}, 0, "", "owner"},
		"braces":          {request{Owner: "{" + id + "}"}, 0, "", "owner"},
		"bad key":         {request{Owner: id, Key: "x"}, 0, "", "key"},
		"IPv4 below":      {request{Owner: id, IPv4: -1}, 0, "", "ipv4_count"},
		"IPv4 beyond":     {request{Owner: id, IPv4: 257}, 0, "", "ipv4_count"},
		"IPv6 below":      {request{Owner: id, IPv6: -1}, 0, "", "ipv6_count"},
		"IPv6 beyond":     {request{Owner: id, IPv6: 257}, 0, "", "ipv6_count"},
		"any below":       {request{Owner: id, Any: -1}, 0, "", "any_count"},
		"any beyond":      {request{Owner: id, Any: 257}, 0, "", "any_count"},
		"lapse below":     {request{Owner: id}, -1, "", "lapse_seconds"},
		"lapse beyond":    {request{Owner: id}, 24*60*60 + 1, "", "lapse_seconds"},
		"bad wish":        {request{Owner: id}, 0, "x", "wish"},
	} {
		r, err := tt.r.check(tt.lapse, tt.wish)
		if f, ok := fault.From(err); tt.field != "" && (!ok || f.Field != tt.field) || tt.field == "" && err != nil {
			t.Errorf("%s: %v, want a refusal on %q", name, err, tt.field)
		}
		if tt.field != "" {
			continue
		}
		lapse := time.Duration(tt.lapse) * time.Second
		if tt.lapse == 0 {
			lapse = 5 * time.Minute
		}
		if r.isFirst() != (tt.r.Key == "") || r.Lapse != lapse || tt.wish != "" && r.IPv4 != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
