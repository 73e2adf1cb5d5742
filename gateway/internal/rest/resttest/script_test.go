package resttest

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// TestScriptNotices what a transcript does not expect: another call, another request, no call.
func TestScriptNotices(t *testing.T) {
	t.Parallel()
	const method = "/vm.v3.HostService/GetHost"
	for what, tt := range map[string]struct {
		lines []string
		call  bool
		good  bool
	}{
		"the call":        {[]string{"vm.v3.HostService/GetHost id:7", "  id:7 name:\"a\""}, true, true},
		"another method":  {[]string{"vm.v3.HostService/StartHost id:7"}, true, false},
		"another request": {[]string{"vm.v3.HostService/GetHost id:8"}, true, false},
		"no text":         {[]string{"vm.v3.HostService/GetHost none:8"}, true, false},
		"no answer":       {[]string{"vm.v3.HostService/GetHost id:7", "  none:1"}, true, false},
		"nothing":         {nil, true, false},
		"no call":         {[]string{"vm.v3.HostService/GetHost id:7"}, false, false},
	} {
		s := &script{}
		if err := s.expect(tt.lines); err != nil {
			t.Fatal(err)
		}
		out := &vmpb.Host{}
		if tt.call {
			_ = s.Invoke(t.Context(), method, &vmpb.GetHostRequest{Id: 7}, out) // done returns what is wrong with it
		}
		if err := s.done(); (err == nil) != tt.good || tt.good && out.GetName() != "a" {
			t.Errorf("%s: %v %v", what, err, out)
		}
	}
}

func TestScriptedFault(t *testing.T) {
	t.Parallel()
	s := &script{}
	if err := s.expect([]string{"vm.v3.HostService/GetHost id:7", "  ! ResourceExhausted RATE_LIMITED field=id after=10s wait a while"}); err != nil {
		t.Fatal(err)
	}
	f, ok := fault.From(s.Invoke(t.Context(), "/vm.v3.HostService/GetHost", &vmpb.GetHostRequest{Id: 7}, &vmpb.Host{}))
	if !ok || f.Code != codes.ResourceExhausted || f.Reason != "RATE_LIMITED" || f.Field != "id" || f.RetryAfter != 10*time.Second || f.Msg != "wait a while" {
		t.Errorf("%+v", f)
	}
	for _, bad := range []string{"", "NotFound", "Nonsense REASON text", "NotFound REASON after=x text"} {
		if _, err := parseFault(bad); err == nil {
			t.Errorf("%q is a fault", bad)
		}
	}
}
