package vm_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

func (w *world) limits() vmpb.LimitServiceClient { return vmpb.NewLimitServiceClient(w.conn) }

func reason(err error) string {
	if f, ok := fault.From(err); ok {
		return f.Reason
	}
	return ""
}

// roomy gives the node so much that only limits stop anybody.
func (w *world) roomy() {
	w.Helper()
	if _, err := w.sign(func(r *vmpb.RegisterNodeRequest) { r.Description.RamMib, r.Description.StorageMib = 1<<20, 1<<24 }); err != nil {
		w.Fatal(err)
	}
}

// TestExactlyAsManyAsTheLimit has 200 creates at once run into each limit, each of which leaves room for ten.
func TestExactlyAsManyAsTheLimit(t *testing.T) {
	t.Parallel()
	ten := func(per float64) *structpb.Value { return structpb.NewNumberValue(10 * per) }
	for field, tt := range map[string]struct {
		limit  *vmpb.SetLimitsRequest
		want   string
		narrow func(w *world)
	}{
		"host_count":  {&vmpb.SetLimitsRequest{HostCount: ten(1)}, "QUOTA_EXCEEDED", (*world).roomy},
		"cpu_number":  {&vmpb.SetLimitsRequest{CpuNumberTotal: ten(2)}, "QUOTA_EXCEEDED", (*world).roomy},
		"ram_mib":     {&vmpb.SetLimitsRequest{RamMib: ten(128)}, "QUOTA_EXCEEDED", (*world).roomy},
		"hdd_mib":     {&vmpb.SetLimitsRequest{HddMib: ten(64)}, "QUOTA_EXCEEDED", (*world).roomy},
		"ipv4_number": {&vmpb.SetLimitsRequest{Ipv4NumberTotal: ten(1)}, "QUOTA_EXCEEDED", (*world).roomy},
		"node":        {&vmpb.SetLimitsRequest{}, "NO_CAPACITY", func(*world) {}}, // of 1280 MiB
		"addresses":   {&vmpb.SetLimitsRequest{}, "NO_FREE_ADDRESS", func(w *world) { w.roomy(); w.ip.free = 10 }},
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.narrow(w)
			tt.limit.Id = 11
			if _, err := w.limits().SetLimits(w.admin(), tt.limit); err != nil {
				t.Fatal(err)
			}
			var made, refused atomic.Int32
			var all sync.WaitGroup
			user, two := w.as(11, "@user"), int32(2)
			for i := range 200 {
				all.Go(func() {
					r := wish(fmt.Sprint("host", i))
					r.CpuNumber = &two
					_, err := w.hosts().CreateHost(user, r)
					switch reason(err) {
					case "":
						if err != nil {
							t.Error(err)
						}
						made.Add(1)
					case tt.want:
						refused.Add(1)
					default:
						t.Errorf("refused for %v", err)
					}
				})
			}
			all.Wait()
			if made.Load() != 10 || refused.Load() != 190 {
				t.Errorf("%d were made, %d refused", made.Load(), refused.Load())
			}
			l, err := w.limits().GetLimits(user, &vmpb.GetLimitsRequest{Id: 11})
			if err != nil || l.GetHostCountUsed() != 10 || l.GetRamMibUsed() != 1280 || l.GetCpuNumberUsed() != 20 ||
				l.GetHddMibUsed() != 640 || l.GetIpv4NumberUsed() != 10 {
				t.Errorf("limits %v %v", l, err)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.as(11, "@user")
	set := func(r *vmpb.SetLimitsRequest) error {
		r.Id = 11
		_, err := w.limits().SetLimits(w.admin(), r)
		return err
	}
	one := structpb.NewNumberValue(1)
	if err := set(&vmpb.SetLimitsRequest{HostCount: structpb.NewNumberValue(7), HostCountTotal: one, RamMib: structpb.NewStringValue("128")}); err != nil {
		t.Fatal(err)
	}
	c := w.create(user, wish("first"))
	w.done(c.GetTask())
	_, err := w.hosts().CreateHost(user, wish("second"))
	if f, ok := fault.From(err); !ok || f.Reason != "QUOTA_EXCEEDED" || f.Code != codes.ResourceExhausted || f.Field != "host_count" {
		t.Errorf("a host too many: %+v", err)
	}
	// An administrator who makes a host for the account is bound as well: the limit is the account's.
	r, account := wish("third"), int32(11)
	r.Account = &account
	if _, err := w.hosts().CreateHost(w.admin(), r); reason(err) != "QUOTA_EXCEEDED" {
		t.Errorf("an administrator: %v", err)
	}
	op, err := w.hosts().DeleteHost(user, &vmpb.DeleteHostRequest{Id: c.GetId()})
	if err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(err)
	}
	if l, err := w.limits().GetLimits(user, &vmpb.GetLimitsRequest{Id: 11}); err != nil || l.GetHostCountUsed()+l.GetRamMibUsed()+l.GetIpv4NumberUsed() != 0 ||
		l.GetHostCount().GetValue() != 1 || l.GetHostCountTotal().GetValue() != 1 || l.GetRamMib().GetValue() != 128 || l.GetHddMib() != nil {
		t.Errorf("after the delete: %v %v", l, err)
	}
	if err := set(&vmpb.SetLimitsRequest{HostCount: structpb.NewNullValue()}); err != nil {
		t.Fatal(err)
	}
	if l, err := w.limits().GetLimits(w.admin(), &vmpb.GetLimitsRequest{Id: 11}); err != nil || l.GetHostCount() != nil || l.GetRamMib().GetValue() != 128 {
		t.Errorf("null is no limit, and what is absent stays: %v %v", l, err)
	}
	for _, bad := range []*structpb.Value{
		structpb.NewNumberValue(-1), structpb.NewNumberValue(1.5), structpb.NewNumberValue(1e10), structpb.NewStringValue("many"), structpb.NewBoolValue(true),
	} {
		if err := set(&vmpb.SetLimitsRequest{RamMib: bad}); reason(err) != "INVALID_ARGUMENT" {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for what, err := range map[string]error{
		"another's":  func() error { _, err := w.limits().GetLimits(user, &vmpb.GetLimitsRequest{Id: 1}); return err }(),
		"nobody's":   func() error { _, err := w.limits().GetLimits(user, &vmpb.GetLimitsRequest{Id: 9}); return err }(),
		"of a ghost": func() error { _, err := w.limits().SetLimits(w.admin(), &vmpb.SetLimitsRequest{Id: 9}); return err }(),
	} {
		if reason(err) != "NOT_FOUND" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := w.limits().SetLimits(user, &vmpb.SetLimitsRequest{Id: 11}); reason(err) != "PERMISSION_DENIED" {
		t.Errorf("a user sets limits: %v", err)
	}
}

// TestFailedCreateGivesTheLimitBack also holds when the job is undone.
func TestFailedCreateGivesTheLimitBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.failOn("EnsureDisk", fault.Invalid)
	c := w.create(w.as(11, "@user"), wish("never"))
	if s := w.done(c.GetTask()); s != "failed" {
		t.Fatalf("create is %s", s)
	}
	if l, err := w.limits().GetLimits(w.admin(), &vmpb.GetLimitsRequest{Id: 11}); err != nil || l.GetHostCountUsed()+l.GetHddMibUsed()+l.GetIpv4NumberUsed() != 0 {
		t.Errorf("limits %v %v", l, err)
	}
}

// TestOneRecordOfLimitsOfAnUnknownAccount: fetching the account that vm's copy lacks is not the change, and leaves no record.
func TestOneRecordOfLimitsOfAnUnknownAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.limits().SetLimits(w.admin(), &vmpb.SetLimitsRequest{Id: 11, HostCount: structpb.NewNumberValue(3)}); err != nil {
		t.Fatal(err)
	}
	var records int
	err := w.deps.Pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE subject = 'vm.v3.audit.recorded'`).Scan(&records)
	if err != nil || records != 1 {
		t.Errorf("%d records of one call, %v", records, err)
	}
}
