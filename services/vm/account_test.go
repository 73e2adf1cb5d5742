package vm_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	auditpb "slipway.dev/proto/audit/v1"
	authpb "slipway.dev/proto/auth/v4"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// asAuth is vm's accounts as auth calls them.
func (w *world) asAuth() vmpb.AccountServiceClient {
	return vmpb.NewAccountServiceClient(w.svc.Server().Local("auth"))
}

// account makes an account known.
func (w *world) account(id int32, roles ...string) {
	w.Helper()
	if roles == nil {
		roles = []string{identity.RoleUser}
	}
	w.publish("auth.v4.user.created", &authpb.UserChanged{Id: id, Email: fmt.Sprintf("%d@example.com", id), Roles: roles, State: "active"})
	w.wait("the account is known", func() bool {
		_, err := vmpb.NewAccountServiceClient(w.conn).GetAccount(w.admin(), &vmpb.GetAccountRequest{Id: id})
		return err == nil
	})
}

// leave deletes an account as auth does, and waits as auth does. It returns the heir.
func (w *world) leave(id, heir int32) int32 {
	w.Helper()
	w.publish("auth.v4.user.deleted", &authpb.UserDeleted{Id: id, Heir: heir, ActorId: 1, Actor: "boss@example.com", RequestId: "r-1"})
	r, err := w.asAuth().AwaitHeir(w.Context(), &vmpb.AwaitHeirRequest{Account: id})
	if err != nil {
		w.Fatal(err)
	}
	return r.GetHeir()
}

// of lists the ids of the hosts of an account, as the account sees them.
func (w *world) of(account int32) (ids []int32) {
	w.Helper()
	l, err := w.hosts().ListHosts(w.as(account, identity.RoleUser), &vmpb.ListHostsRequest{})
	if err != nil {
		w.Fatal(err)
	}
	for _, h := range l.GetList() {
		if h.GetAccount().GetId() != account {
			w.Errorf("account %d sees the host of %v", account, h.GetAccount())
		}
		ids = append(ids, h.GetId())
	}
	slices.Sort(ids)
	return ids
}

// counted checks that the numbers of every account are those of its hosts.
func (w *world) counted() {
	w.Helper()
	var wrong string
	err := w.deps.Pool.QueryRow(w.Context(), `
		SELECT coalesce(string_agg(u.account_id || ' ' || u.host_count || ' ' || h.n, ', '), '')
		FROM account_usage u CROSS JOIN LATERAL (
			SELECT count(*) AS n, coalesce(sum(cpu_number), 0) AS cpu, coalesce(sum(ram_mib), 0) AS ram,
				coalesce(sum((SELECT sum(size_mib) FROM disk d WHERE d.host_id = x.id)), 0) AS disk,
				coalesce(sum((SELECT count(*) FROM host_address a WHERE a.host_id = x.id AND a.family = 4)), 0) AS ips
			FROM host x WHERE x.account_id = u.account_id) h
		WHERE (u.host_count, u.cpu_number, u.ram_mib, u.hdd_mib, u.ipv4_number) IS DISTINCT FROM (h.n, h.cpu, h.ram, h.disk, h.ips)`).
		Scan(&wrong)
	if err != nil || wrong != "" {
		w.Errorf("numbers of accounts: %s %v", wrong, err)
	}
}

// TestDeletedAccountGivesItsHosts: hosts, tasks and numbers go to the heir at once, whatever its limits, each recorded; what was
// said earlier of the account brings nothing back, and an heir that is deleted itself gives on what it got.
func TestDeletedAccountGivesItsHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	records := w.watch("vm.v3.audit.recorded", "vm.v3.host.moved")
	for _, id := range []int32{3, 7, 11, 12} {
		w.account(id)
	}
	_, err := w.limits().SetLimits(w.admin(), &vmpb.SetLimitsRequest{Id: 7, HostCount: structpb.NewNumberValue(0)})
	if err != nil {
		t.Fatal(err)
	}
	var mine []int32
	var tasks []int32
	for _, name := range []string{"a", "b"} {
		c := w.create(w.as(11, identity.RoleUser), wish(name))
		mine, tasks = append(mine, c.GetId()), append(tasks, c.GetTask())
	}
	other := w.create(w.as(12, identity.RoleUser), wish("c"))
	for _, id := range append(tasks, other.GetTask()) {
		if s := w.done(id); s != "complete" {
			t.Fatal(w.task(id))
		}
	}
	n, err := w.asAuth().CountHosts(t.Context(), &vmpb.CountHostsRequest{Account: 11})
	if err != nil || n.GetHosts() != 2 {
		t.Errorf("%v %v", n, err)
	}

	if heir := w.leave(11, 7); heir != 7 {
		t.Errorf("the heir is %d", heir)
	}
	w.counted()
	if !slices.Equal(w.of(7), mine) || len(w.of(11)) != 0 || !slices.Equal(w.of(12), []int32{other.GetId()}) {
		t.Errorf("hosts of the heir %v, of the deleted account %v, of another %v", w.of(7), w.of(11), w.of(12))
	}
	for _, id := range tasks {
		if got := w.task(id).GetAccount(); got != 7 {
			t.Errorf("the task belongs to %d", got)
		}
	}
	seen := map[string]bool{}
	for len(seen) < 4 {
		e := <-records
		switch e.Subject {
		case "vm.v3.host.moved":
			var h vmpb.HostChanged
			if err := e.Decode(&h); err != nil || h.GetAccountId() != 7 {
				t.Errorf("%v %v", &h, err)
			}
			seen[fmt.Sprint("event ", h.GetId())] = true
		default:
			var r auditpb.Record
			if err := e.Decode(&r); err != nil {
				t.Fatal(err)
			}
			if r.GetAction() != "vm.v3.host.moved" {
				continue
			}
			if r.GetActor() != "boss@example.com" || r.GetActorId() != 1 || r.GetObjectType() != "host" || r.GetBefore() != `{"account":11}` ||
				r.GetAfter() != `{"account":7}` || r.GetRequestId() != "r-1" || r.GetService() != "vm" {
				t.Errorf("the record %v", &r)
			}
			seen["record "+r.GetObjectId()] = true
		}
	}

	// What was said of the account before comes late; and again.
	w.publish("auth.v4.user.updated", &authpb.UserChanged{Id: 11, Email: "old@example.com", Roles: []string{"@user"}, State: "active"})
	w.leave(11, 7)
	accounts := vmpb.NewAccountServiceClient(w.conn)
	if _, err := accounts.GetAccount(w.admin(), &vmpb.GetAccountRequest{Id: 11}); err == nil {
		t.Error("the deleted account is back")
	}
	eleven := int32(11)
	r := wish("d")
	r.Account = &eleven
	_, err = w.hosts().CreateHost(w.admin(), r)
	if f, ok := fault.From(err); !ok || f.Reason != "INVALID_ARGUMENT" || f.Field != "account" {
		t.Errorf("a host for the deleted account: %v", err)
	}
	_, err = w.hosts().CreateHost(w.as(11, identity.RoleUser), wish("e"))
	w.reason("a host by the deleted account", err, "UNAUTHENTICATED")

	op, err := w.hosts().DeleteHost(w.as(7, identity.RoleUser), &vmpb.DeleteHostRequest{Id: mine[0]})
	if err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(err)
	}
	w.counted()
	if heir := w.leave(7, 3); heir != 3 || !slices.Equal(w.of(3), mine[1:]) {
		t.Errorf("the heir's heir %d has %v", heir, w.of(3))
	}
	if heir := w.leave(12, 11); heir != 3 || len(w.of(3)) != 2 { // an event that was parked meanwhile
		t.Errorf("the heir of an account whose heir was deleted: %d with %v", heir, w.of(3))
	}
	w.counted()
}

// TestDeletedWithoutHeir: what an earlier version said names no heir. The first administrator is it; without one the hosts stay
// as they are.
func TestDeletedWithoutHeir(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account(11)
	w.account(12)
	made := map[int32]int32{}
	for _, id := range []int32{11, 12} {
		made[id] = w.create(w.as(id, identity.RoleUser), wish(fmt.Sprint("h", id))).GetId()
	}
	if heir := w.leave(11, 0); heir != 0 || !slices.Equal(w.of(11), []int32{made[11]}) {
		t.Errorf("heir %d, hosts %v", heir, w.of(11))
	}
	w.account(5, identity.RoleAdmin)
	if heir := w.leave(12, 0); heir != 5 {
		t.Errorf("heir %d", heir)
	}
	w.counted()
}

// TestCreateForALeavingAccount: a create under way lands before the deletion, and its host is the heir's, or after it, and is
// refused with nothing left of it.
func TestCreateForALeavingAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.roomy()
	w.account(7)
	w.account(11)
	w.agent.failOn("DefineMachine", fault.Unavailable.With("the node is away"))
	before := w.create(w.as(11, identity.RoleUser), wish("before"))
	user := w.as(11, identity.RoleUser)
	var once sync.Once
	w.ip.mu.Lock()
	w.ip.reserved = func() { once.Do(func() { w.leave(11, 7) }) }
	w.ip.mu.Unlock()
	_, err := w.hosts().CreateHost(user, wish("after"))
	w.reason("a create that the deletion overtakes", err, "UNAUTHENTICATED")
	w.agent.failOn("DefineMachine", nil)
	if s := w.done(before.GetTask()); s != "complete" || !slices.Equal(w.of(7), []int32{before.GetId()}) {
		t.Errorf("%v, the heir has %v", w.task(before.GetTask()), w.of(7))
	}
	w.counted()
	op, err := w.hosts().DeleteHost(w.as(7, identity.RoleUser), &vmpb.DeleteHostRequest{Id: before.GetId()})
	if err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(err)
	}
	w.nothingLeft()
}

// TestManyCreatesOfALeavingAccount: whatever the order, no host is the deleted account's, and every number is right.
func TestManyCreatesOfALeavingAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.roomy()
	w.account(7)
	w.account(11)
	user := w.as(11, identity.RoleUser)
	var all sync.WaitGroup
	var made sync.Map
	begun := make(chan struct{}, 100)
	for i := range 40 {
		all.Go(func() {
			begun <- struct{}{}
			switch c, err := w.hosts().CreateHost(user, wish(fmt.Sprint("host", i))); {
			case err == nil:
				made.Store(c.GetId(), c.GetTask())
			case reason(err) != "UNAUTHENTICATED":
				t.Errorf("refused for %v", err)
			}
		})
	}
	for range 10 {
		<-begun
	}
	w.leave(11, 7)
	all.Wait()
	w.counted()
	var want []int32
	made.Range(func(id, task any) bool {
		want = append(want, id.(int32))
		if s := w.done(task.(int32)); s != "complete" {
			t.Error(w.task(task.(int32)))
		}
		return true
	})
	slices.Sort(want)
	if got := w.of(7); !slices.Equal(got, want) || len(w.of(11)) != 0 {
		t.Errorf("the heir has %v, made were %v, the deleted account has %v", got, want, w.of(11))
	}
}

// watch returns the events with these subjects that are emitted from now on.
func (w *world) watch(subjects ...string) <-chan bus.Event {
	w.Helper()
	events, ready := make(chan bus.Event, 1000), make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := w.bus.Watch(ctx, []string{"vm.>"}, func(e bus.Event) {
			if slices.Contains(subjects, e.Subject) {
				events <- e
			}
		}, func() { close(ready) })
		if err != nil && !strings.Contains(err.Error(), "closed") {
			w.Error(err)
		}
	}()
	<-ready
	w.Cleanup(func() { stop(); <-done })
	return events
}

// TestNewAccountIsKnown: an account that auth has just made is found by its id before the event arrives, and by administrators
// alone.
func TestNewAccountIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accounts := vmpb.NewAccountServiceClient(w.conn)
	one := &vmpb.ListAccountsRequest{Query: where("id", "11")}
	if l, err := accounts.ListAccounts(w.as(12, identity.RoleUser), one); err == nil && l.GetSize() != 0 {
		t.Errorf("a user finds %v", l)
	}
	if l, err := accounts.ListAccounts(w.admin(), &vmpb.ListAccountsRequest{Query: where("id", "12")}); err != nil || l.GetSize() != 0 {
		t.Errorf("no account: %v %v", l, err)
	}
	l, err := accounts.ListAccounts(w.admin(), one)
	if err != nil || l.GetSize() != 1 || l.GetList()[0].GetEmail() != "eleven@example.com" {
		t.Errorf("list %v %v", l, err)
	}
	if _, err := accounts.GetAccount(w.admin(), &vmpb.GetAccountRequest{Id: 11}); err != nil {
		t.Error(err)
	}
	_, err = accounts.GetAccount(w.admin(), &vmpb.GetAccountRequest{Id: 12})
	w.reason("no account", err, "NOT_FOUND")
}
