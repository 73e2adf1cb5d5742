package ip_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	auditpb "slipway.dev/proto/audit/v1"
	ippb "slipway.dev/proto/ip/v3"
)

// records returns the audit records that ip emitted, as "method kind id result by actor".
func (w *world) records(t testing.TB) []string {
	t.Helper()
	rows, err := w.pool.Query(context.WithoutCancel(t.Context()), `SELECT data FROM outbox WHERE subject = 'ip.v3.audit.recorded' ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var data []byte
		var r auditpb.Record
		if err := rows.Scan(&data); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		_, method, _ := strings.Cut(r.GetAction(), "/")
		list = append(list, fmt.Sprintf("%s %s %s %s by %d", method, r.GetObjectType(), r.GetObjectId(), r.GetResult(), r.GetActorId()))
	}
	return list
}

// TestRecordsNameWhatChanged: the record of a change names the address or the range, not the pool in whose path it is.
func TestRecordsNameWhatChanged(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.admin(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "198.51.100.0/24")
	first := w.newPool(t, "a")
	pool := w.newPool(t, "p", "192.0.2.0/29", "198.51.100.0/30")
	held, err := w.list.HoldPoolAddress(admin, &ippb.HoldPoolAddressRequest{Id: pool, IpAddr: "192.0.2.3", Note: "printer"})
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := w.pools.ListRanges(admin, &ippb.ListRangesRequest{})
	if err != nil || len(ranges.GetList()) != 2 || held.GetId() == pool {
		t.Fatal(ranges, held, err)
	}
	second := ranges.GetList()[1].GetId()
	if _, err := w.pools.DeleteRange(admin, &ippb.DeleteRangeRequest{Id: second}); err != nil {
		t.Fatal(err)
	}
	list := w.records(t)
	for _, want := range []string{
		fmt.Sprintf("CreatePool pool %d ok by 1", first),
		fmt.Sprintf("AddRange range %d ok by 1", second),
		fmt.Sprintf("HoldPoolAddress address %d ok by 1", held.GetId()),
		fmt.Sprintf("DeleteRange range %d ok by 1", second),
	} {
		if !slices.Contains(list, want) {
			t.Errorf("no record %q among %q", want, list)
		}
	}
}
