package vm_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/query"
)

// guesses are conditions that a client may try to see or count the objects of others.
var guesses = []struct {
	field  string
	values []string
}{
	{"id", []string{"1", "2", "3", "4", "5", "100001", "100004"}},
	{"name", []string{"%", "a%", "b1", "host_create", "%create"}},
	{"state", []string{"active", "%", "stopped"}},
	{"status", []string{"complete", "%"}},
	{"account", []string{"10", "20", "0"}},
	{"account.id", []string{"10", "20"}},
	{"account.email", []string{"%", "a@example.com"}},
	{"ip4", []string{"10.1.0.%", "10.1.0.3", "%"}},
	{"cluster.name", []string{"default", "%"}},
	{"host", []string{"1", "4", "5"}},
	{"email", []string{"%"}},
	{"roles", []string{"%admin%", "@user"}},
}

func guess(r *rand.Rand, depth int) *querypb.Expr {
	sub := func() *querypb.Expr { return guess(r, depth-1) }
	switch n := r.IntN(8); {
	case depth == 0 || n < 3:
		g := guesses[r.IntN(len(guesses))]
		return &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: &querypb.Compare{
			Field: g.field, Operator: querypb.Operator(1 + r.IntN(8)), Value: g.values[r.IntN(len(g.values))],
		}}}
	case n < 5:
		return &querypb.Expr{Kind: &querypb.Expr_Not{Not: sub()}}
	case n < 7:
		return &querypb.Expr{Kind: &querypb.Expr_Or{Or: &querypb.Exprs{List: []*querypb.Expr{sub(), sub()}}}}
	default:
		return &querypb.Expr{Kind: &querypb.Expr_And{And: &querypb.Exprs{List: []*querypb.Expr{sub(), sub()}}}}
	}
}

// TestNobodySeesOthers: whatever two users ask for, neither list nor size has anything of the other.
func TestNobodySeesOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		for _, who := range []int32{10, 20} {
			w.done(w.create(w.as(who, identity.RoleUser), wish(fmt.Sprintf("%c%d", 'a'+who/20, i))).GetTask())
		}
	}
	r := rand.New(rand.NewPCG(1, 2)) // the same at every run
	tasks, accounts := vmpb.NewTaskServiceClient(w.conn), vmpb.NewAccountServiceClient(w.conn)
	sound := 0
	for range 600 {
		q := &querypb.Query{Where: guess(r, 3)}
		for _, who := range []int32{10, 20} {
			ctx := w.as(who, identity.RoleUser)
			hosts, err := w.hosts().ListHosts(ctx, &vmpb.ListHostsRequest{Query: q})
			w.refused(err)
			for _, h := range hosts.GetList() {
				if h.GetAccount().GetId() != who {
					t.Fatalf("%d sees host %v by %v", who, h, q)
				}
			}
			jobs, err := tasks.ListTasks(ctx, &vmpb.ListTasksRequest{Query: q})
			w.refused(err)
			for _, j := range jobs.GetList() {
				if j.GetAccount() != who {
					t.Fatalf("%d sees task %v by %v", who, j, q)
				}
			}
			people, err := accounts.ListAccounts(ctx, &vmpb.ListAccountsRequest{Query: q})
			w.refused(err)
			for _, a := range people.GetList() {
				if a.GetId() != who {
					t.Fatalf("%d sees account %v by %v", who, a, q)
				}
			}
			for _, l := range [][2]int{
				{len(hosts.GetList()), int(hosts.GetSize())}, {len(jobs.GetList()), int(jobs.GetSize())}, {len(people.GetList()), int(people.GetSize())},
			} {
				if l[0] != l[1] {
					t.Fatalf("%d is shown %d and counted %d by %v", who, l[0], l[1], q)
				}
				sound += l[0]
			}
		}
	}
	if sound == 0 {
		t.Error("no query found anything")
	}
}

// refused allows faults of the caller alone.
func (w *world) refused(err error) {
	w.Helper()
	if err == nil {
		return
	}
	if f, ok := fault.From(err); !ok || f.Reason != fault.Invalid.Reason {
		w.Fatalf("%v", err)
	}
}

// TestPagesByCursor: the cursor comes beside the answer, through every layer.
func TestPagesByCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 5 {
		w.create(w.admin(), wish(fmt.Sprintf("h%d", i)))
	}
	q := &querypb.Query{Limit: 2, Cursor: proto.String(""), OrderBy: []*querypb.Order{{Field: "name", Descending: true}}}
	var names []string
	for range 4 {
		var trailer metadata.MD
		l, err := w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: q}, grpc.Trailer(&trailer))
		if err != nil || l.GetSize() != 5 {
			t.Fatal(l, err)
		}
		for _, h := range l.GetList() {
			names = append(names, h.GetName())
		}
		next := trailer.Get(query.NextKey)
		if len(next) == 0 {
			break
		}
		q.Cursor = &next[0]
	}
	if !slices.Equal(names, []string{"h4", "h3", "h2", "h1", "h0"}) {
		t.Errorf("pages %v", names)
	}
	q.OrderBy = nil
	_, err := w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: q})
	if f, ok := fault.From(err); !ok || f.Field != "cursor" {
		t.Errorf("a cursor of another order: %v", err)
	}
}
