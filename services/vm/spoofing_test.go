package vm_test

import (
	"context"
	"testing"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/identity"
)

// TestAntiSpoofingIsOn: a guest may use its own addresses alone, unless an administrator turns that off for the host or
// the cluster; a user cannot, and hosts that exist follow at their next start.
func TestAntiSpoofingIsOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user, on, off := w.as(11, identity.RoleUser), true, false
	r := wish("web1")
	r.AntiSpoofing = false
	c := w.create(user, r)
	if s := w.done(c.GetTask()); s != "complete" {
		t.Fatal(w.task(c.GetTask()))
	}
	check := func(when string, want bool) {
		t.Helper()
		h, err := w.hosts().GetHost(user, &vmpb.GetHostRequest{Id: c.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.agent.machine(h.GetInternalName()).guarded; got != want || h.GetAntiSpoofing() != want {
			t.Errorf("%s the machine is limited: %v, and the host shows %v; want %v", when, got, h.GetAntiSpoofing(), want)
		}
	}
	update := func(ctx context.Context, value *bool) {
		t.Helper()
		if _, err := w.hosts().UpdateHost(ctx, &vmpb.UpdateHostRequest{Id: c.GetId(), AntiSpoofing: value}); err != nil {
			t.Fatal(err)
		}
	}
	restart := func() {
		t.Helper()
		op, err := w.hosts().RestartHost(user, &vmpb.RestartHostRequest{Id: c.GetId(), Force: true})
		if err != nil || w.done(op.GetTask()) != "complete" {
			t.Fatal(op, err)
		}
	}
	policy := func(on bool) {
		t.Helper()
		if _, err := w.clusters().UpdateCluster(w.admin(), &vmpb.UpdateClusterRequest{Id: 1, AntiSpoofing: &on}); err != nil {
			t.Fatal(err)
		}
		got, err := w.clusters().GetCluster(user, &vmpb.GetClusterRequest{Id: 1})
		if err != nil || got.GetAntiSpoofing() != on {
			t.Errorf("cluster %v %v", got, err)
		}
	}
	check("at first", true)
	update(user, &off)
	restart()
	check("after a user's wish", true)
	update(w.admin(), &off)
	check("before the restart", true)
	restart()
	check("after an administrator's wish", false)
	update(w.admin(), nil)
	restart()
	check("after an update of something else", false)
	update(user, &on)
	restart()
	check("after a user turned it on", true)

	if _, err := w.deps.Pool.Exec(t.Context(), `UPDATE host SET anti_spoofing_own = NULL, anti_spoofing = false`); err != nil {
		t.Fatal(err)
	}
	restart()
	check("a host of an earlier version after a restart", true)
	policy(false)
	check("before it follows the cluster", true)
	restart()
	check("as the cluster", false)
	policy(true)
	restart()
	check("as the cluster again", true)
	_, err := w.clusters().UpdateCluster(user, &vmpb.UpdateClusterRequest{Id: 1, AntiSpoofing: &off})
	w.reason("a user", err, "PERMISSION_DENIED")
	_, err = w.clusters().UpdateCluster(w.admin(), &vmpb.UpdateClusterRequest{Id: 99, AntiSpoofing: &off})
	w.reason("no cluster", err, "NOT_FOUND")
}

func (w *world) clusters() vmpb.ClusterServiceClient { return vmpb.NewClusterServiceClient(w.conn) }
