package rest

import (
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	vmpb "slipway.dev/proto/vm/v3"
)

// TestNullIsNotAbsence: where a number may be taken away, null does so and absence does not.
func TestNullIsNotAbsence(t *testing.T) {
	t.Parallel()
	var r vmpb.SetLimitsRequest
	if err := decode(`{"host_count":null,"ram_mib":5,"hdd_mib_total":"7","vxlan_count_total":1}`, &r); err != nil {
		t.Fatal(err)
	}
	if _, null := r.GetHostCount().GetKind().(*structpb.Value_NullValue); !null || r.GetRamMib().GetNumberValue() != 5 ||
		r.GetHddMibTotal().GetStringValue() != "7" || r.GetCpuNumber() != nil {
		t.Errorf("%v", &r)
	}
	for _, bad := range []string{`{"ram_mib":{}}`, `{"ram_mib":[1]}`, `{"ram_mib":true}`, `{"ram_mib":"x"}`, `{"ram_mib":{"a":{"b":1}}}`} {
		if err := decode(bad, &r); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
