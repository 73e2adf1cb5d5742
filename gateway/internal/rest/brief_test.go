package rest

import (
	"reflect"
	"testing"

	vmpb "slipway.dev/proto/vm/v3"
)

// TestBrief: a route that shows an id in place of an object shows the id alone, and null for no object.
func TestBrief(t *testing.T) {
	t.Parallel()
	md := (*vmpb.MetadataDisk)(nil).ProtoReflect().Descriptor()
	p, err := newPlan(Codec{}, md, reflect.TypeFor[*vmpb.MetadataDisk]())
	if err != nil {
		t.Fatal(err)
	}
	brief, err := p.brief([]string{"storage"})
	if err != nil {
		t.Fatal(err)
	}
	for want, m := range map[string]*vmpb.MetadataDisk{
		`{"id":1,"name":"","size_mib":0,"boot_order":0,"storage":7}`:    {Id: 1, Storage: &vmpb.MetadataObject{Id: 7}},
		`{"id":1,"name":"","size_mib":0,"boot_order":0,"storage":null}`: {Id: 1},
	} {
		if got := string(brief.message(nil, reflect.ValueOf(m).Elem())); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, wrong := range []string{"name", "nothing"} {
		if _, err := p.brief([]string{wrong}); err == nil {
			t.Errorf("%s is shown by its id", wrong)
		}
	}
}
