package vm_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

func (w *world) upkeep() vmpb.UpkeepServiceClient { return vmpb.NewUpkeepServiceClient(w.conn) }

func (w *world) tags() vmpb.TagServiceClient { return vmpb.NewTagServiceClient(w.conn) }

// read is the host as an administrator sees it.
func (w *world) read(id int32) *vmpb.Host {
	w.Helper()
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: id})
	if err != nil {
		w.Fatal(err)
	}
	return h
}

// TestOwner: a host gets another account at once, with what it counts for, or not at all.
func TestOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account(12)
	w.account(13)
	id := w.create(w.as(12, identity.RoleUser), wish("web1")).GetId()
	give := func(account int32) error {
		op, err := w.upkeep().SetHostOwner(w.admin(), &vmpb.SetHostOwnerRequest{Id: id, Account: account})
		if err == nil && (op.GetId() != id || w.done(op.GetTask()) != "complete" || w.task(op.GetTask()).GetAccount() != account) {
			t.Errorf("answer %v, task %v", op, w.task(op.GetTask()))
		}
		return err
	}
	w.reason("nobody", give(0), "INVALID_ARGUMENT")
	w.reason("an account that does not exist", give(99), "INVALID_ARGUMENT")
	for _, limit := range []*vmpb.SetLimitsRequest{
		{HostCount: structpb.NewNumberValue(0)}, {HddMib: structpb.NewNumberValue(1)}, {Ipv4Number: structpb.NewNumberValue(0)},
	} {
		limit.Id = 13
		if _, err := w.limits().SetLimits(w.admin(), limit); err != nil {
			t.Fatal(err)
		}
		w.reason("a limit", give(13), "QUOTA_EXCEEDED")
		none := structpb.NewNullValue()
		if _, err := w.limits().SetLimits(w.admin(), &vmpb.SetLimitsRequest{Id: 13, HostCount: none, HddMib: none, Ipv4Number: none}); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.of(12); !slices.Equal(got, []int32{id}) {
		t.Errorf("refused, and the owner has %v", got)
	}
	w.counted()
	moved := w.watch("vm.v3.host.moved")
	if err := give(13); err != nil {
		t.Fatal(err)
	}
	if a, b := w.of(12), w.of(13); len(a) != 0 || !slices.Equal(b, []int32{id}) {
		t.Errorf("12 has %v, 13 has %v", a, b)
	}
	w.counted()
	var event bus.Event
	select {
	case event = <-moved:
	case <-t.Context().Done():
	}
	if event.Subject != "vm.v3.host.moved" {
		t.Errorf("event %+v", event)
	}
	_, err := w.hosts().StopHost(w.as(12, identity.RoleUser), &vmpb.StopHostRequest{Id: id})
	w.reason("the old owner", err, fault.NotFound.Reason)
	w.done(w.erase(id))
	w.counted()
}

// erase deletes a host and returns the task.
func (w *world) erase(id int32) int32 {
	w.Helper()
	op, err := w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: id})
	if err != nil {
		w.Fatal(err)
	}
	return op.GetTask()
}

// TestProtected: a protected host is not deleted.
func TestProtected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create(w.admin(), wish("web1")).GetId()
	protect := func(on bool) {
		t.Helper()
		if _, err := w.hosts().UpdateHost(w.admin(), &vmpb.UpdateHostRequest{Id: id, IsProtected: &on}); err != nil {
			t.Fatal(err)
		}
		if h := w.read(id); h.GetIsProtected() != on {
			t.Errorf("protected: %v", h.GetIsProtected())
		}
	}
	protect(true)
	_, err := w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: id})
	w.reason("delete", err, "HOST_PROTECTED")
	if f, _ := fault.From(err); f.Field != "is_protected" {
		t.Errorf("field %q", f.Field)
	}
	protect(false)
	w.done(w.erase(id))
	w.nothingLeft()
}

// TestAutostart: after a reboot of the node, a host without autostart stays off.
func TestAutostart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	on, off := w.create(w.admin(), wish("on")), w.create(w.admin(), wish("off"))
	w.done(on.GetTask())
	w.done(off.GetTask())
	no := false
	if _, err := w.hosts().UpdateHost(w.admin(), &vmpb.UpdateHostRequest{Id: off.GetId(), Autostart: &no}); err != nil {
		t.Fatal(err)
	}
	w.agent.powerCut()
	w.register("boot-2")
	w.wait("the host runs again", func() bool {
		return w.state(on.GetId()) == "active" && w.agent.running(w.read(on.GetId()).GetInternalName())
	})
	w.wait("the other is known to be off", func() bool { return w.state(off.GetId()) == "stopped" })
	if w.agent.running(w.read(off.GetId()).GetInternalName()) || w.read(off.GetId()).GetAutostart() {
		t.Error("the host without autostart was started")
	}
}

// TestTags: hosts have tags that exist, are found by them, and keep them from being deleted.
func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := map[string]int32{}
	for _, name := range []string{"prod", "test"} {
		r, err := w.tags().CreateTag(w.admin(), &vmpb.CreateTagRequest{Name: name, Note: "n"})
		if err != nil {
			t.Fatal(err)
		}
		made[name] = r.GetId()
	}
	_, err := w.tags().CreateTag(w.admin(), &vmpb.CreateTagRequest{Name: "prod"})
	w.reason("twice", err, "CONFLICT")
	_, err = w.tags().CreateTag(w.admin(), &vmpb.CreateTagRequest{Name: " "})
	w.reason("a bad name", err, "INVALID_ARGUMENT")
	bad := wish("bad")
	bad.Tags = []string{"none"}
	_, err = w.hosts().CreateHost(w.admin(), bad)
	w.reason("a tag that does not exist", err, "INVALID_ARGUMENT")
	good := wish("good")
	good.Tags = []string{"prod"}
	id := w.create(w.admin(), good).GetId()
	find := func(tag string) int32 {
		l, err := w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: where("tags", tag)})
		if err != nil {
			t.Fatal(err)
		}
		return l.GetSize()
	}
	if find("prod") != 1 || find("test") != 0 || !slices.Equal(w.read(id).GetTags(), []string{"prod"}) {
		t.Errorf("tags %v", w.read(id).GetTags())
	}
	drop := func(name string) error {
		_, err := w.tags().DeleteTag(w.admin(), &vmpb.DeleteTagRequest{Id: made[name]})
		return err
	}
	w.reason("in use", drop("prod"), "TAG_IN_USE")
	set := func(tags ...string) error {
		_, err := w.hosts().SetHostTags(w.admin(), &vmpb.SetHostTagsRequest{Id: id, Tags: tags})
		return err
	}
	w.reason("unknown", set("test", "none"), "INVALID_ARGUMENT")
	if err := set("test", "test"); err != nil || find("prod") != 0 || find("test") != 1 {
		t.Errorf("tags %v, %v", w.read(id).GetTags(), err)
	}
	if err := drop("prod"); err != nil {
		t.Error(err)
	}
	if err := set(); err != nil || len(w.read(id).GetTags()) != 0 {
		t.Errorf("tags %v, %v", w.read(id).GetTags(), err)
	}
	if l, err := w.tags().ListTags(w.as(11, identity.RoleUser), &vmpb.ListTagsRequest{}); err != nil || l.GetSize() != 1 || l.GetList()[0].GetName() != "test" {
		t.Errorf("list %v, %v", l, err)
	}
}

// powerCut turns all machines off, as a reboot of the node does.
func (f *fakeAgent) powerCut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.machines {
		m.state = nodepb.MachineState_MACHINE_STATE_OFF
	}
}

func (f *fakeAgent) running(uuid string) bool {
	return f.machine(uuid).state == nodepb.MachineState_MACHINE_STATE_RUNNING
}
