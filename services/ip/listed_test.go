package ip_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	ippb "slipway.dev/proto/ip/v3"
	querypb "slipway.dev/proto/query/v1"
)

// TestListedAreInUse checks that the list has the addresses that cannot be given by hand, and the others when the filter asks for
// the state.
func TestListedAreInUse(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.0/29")
	owners := map[string]string{}
	for name, account := range map[string]int32{"own": 1, "foreign": 7, "nobody's": 0, "kept": 7} {
		owners[name] = newOwner()
		_, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owners[name], ClusterId: 1, Ipv4Count: 1, AccountId: account})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owners[name]}); err != nil {
			t.Fatal(err)
		}
	}
	delete(owners, "kept")
	for name, owner := range owners {
		if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	states := func(q *querypb.Query) string {
		t.Helper()
		l, err := w.list.ListAddresses(w.admin(t), &ippb.ListAddressesRequest{Query: q})
		if err != nil {
			t.Fatal(err)
		}
		if int(l.GetSize()) != len(l.GetList()) {
			t.Errorf("%d rows, size %d", len(l.GetList()), l.GetSize())
		}
		var list []string
		for _, a := range l.GetList() {
			list = append(list, a.GetStatus())
		}
		slices.Sort(list)
		return fmt.Sprint(list)
	}
	both := where("family", "4")
	both.Where = &querypb.Expr{Kind: &querypb.Expr_Not{Not: &querypb.Expr{Kind: &querypb.Expr_Or{Or: &querypb.Exprs{
		List: []*querypb.Expr{where("family", "6").GetWhere(), where("status", "network").GetWhere()},
	}}}}}
	const used = "[assigned gateway network quarantined quarantined]"
	for name, tt := range map[string]struct {
		q    *querypb.Query
		want string
	}{
		"no filter":              {nil, used},
		"by cursor":              {&querypb.Query{Cursor: proto.String("")}, used},
		"another field":          {where("family", "4"), used},
		"free":                   {where("state", "free"), "[free free]"},
		"quarantined":            {where("status", "quarantined"), "[quarantined quarantined quarantined]"},
		"the state, deep inside": {both, "[assigned free free gateway quarantined quarantined quarantined]"},
		"not free":               {not("state", "free"), "[assigned gateway network quarantined quarantined quarantined]"},
	} {
		if got := states(tt.q); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
