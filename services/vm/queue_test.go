package vm_test

import (
	"fmt"
	"testing"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// TestQueueOfOneHost checks that a host has only so many tasks that wait, that the refusal changes nothing, and that neither a
// deletion nor another host is held up.
func TestQueueOfOneHost(t *testing.T) {
	t.Parallel()
	const most = 32
	w := newWorld(t)
	c, other := w.create(w.admin(), wish("a")), w.create(w.admin(), wish("b"))
	for _, task := range []int32{c.GetTask(), other.GetTask()} {
		if s := w.done(task); s != "complete" {
			t.Fatal(s)
		}
	}
	w.exec(fmt.Sprintf(`INSERT INTO job (kind, key, args, account_id, run_at)
		VALUES ('host_stop', 'host/%d', '{}', 1, now() + interval '1 day')`, c.GetId())) // the others wait for it
	restart := func(id int32) error {
		_, err := w.hosts().RestartHost(w.admin(), &vmpb.RestartHostRequest{Id: id})
		return err
	}
	for i := 1; i < most; i++ {
		if err := restart(c.GetId()); err != nil {
			t.Fatalf("task %d: %v", i, err)
		}
	}
	for range 3 {
		w.reason("one more", restart(c.GetId()), "TOO_MANY_TASKS")
	}
	if f, _ := fault.From(restart(c.GetId())); f == nil || f.RetryAfter <= 0 {
		t.Errorf("no time to wait: %v", f)
	}
	_, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: c.GetId(), Ipv4Number: 1})
	w.reason("an address", err, "TOO_MANY_TASKS")
	if err := restart(other.GetId()); err != nil {
		t.Errorf("another host: %v", err)
	}
	var waiting int
	if err := w.deps.Pool.QueryRow(t.Context(), `SELECT count(*) FROM job WHERE key = $1 AND finished_at IS NULL`,
		fmt.Sprint("host/", c.GetId())).Scan(&waiting); err != nil || waiting != most {
		t.Errorf("%d tasks wait: %v", waiting, err)
	}
	op, err := w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: c.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	if s := w.done(op.GetTask()); s != "complete" {
		t.Errorf("the deletion is %s", s)
	}
}
