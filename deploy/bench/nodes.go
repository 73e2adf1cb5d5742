package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/deploy/seed"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgembed"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/service"
	"slipway.dev/services/vm"
)

// manyNodes are the nodes that vm looks at, silentNodes those of them that do not answer in the last measurement.
const (
	manyNodes   = 1000
	silentNodes = 100
)

// nodes measures vm's looks at a thousand nodes with so many hosts. The agents answer in the process of vm, so what they
// cost counts as vm's.
func (b *bench) nodes(ctx context.Context) error {
	for _, hosts := range []int{100_000, b.hosts} {
		if hosts == 0 {
			continue
		}
		if err := b.nodesWith(ctx, hosts); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) nodesWith(ctx context.Context, hosts int) error {
	name := fmt.Sprint("nodes", hosts)
	dir := filepath.Join(b.dir, "postgres-"+name)
	db, err := pgembed.Start(ctx, pgembed.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer db.Stop(context.WithoutCancel(ctx))    //nolint:errcheck // its data is thrown away
	p, err := b.up("sim", name, db.URL(), quiet) // makes the tables
	if err != nil {
		return err
	}
	p.stop()
	if err := seed.FillSize(ctx, db.URL(), seed.Size{Hosts: hosts, Nodes: manyNodes}, func(string) {}); err != nil {
		return err
	}
	pool, err := pg.Open(ctx, db.URL(), vm.Schema)
	if err != nil {
		return err
	}
	defer pool.Close()
	e, err := readEstate(ctx, pool)
	if err != nil {
		return err
	}
	return e.watched(ctx, pool, func() error { return b.measureLooks(ctx, e, hosts, postmaster(dir)) })
}

// estate is the nodes of a database, with agents that answer from memory.
type estate struct {
	agents map[string]*listing
	names  []string
}

// listing is an agent that has machines in memory.
type listing struct {
	nodepb.UnimplementedNodeServiceServer
	all    *nodepb.ListMachinesResponse
	silent atomic.Bool
	mu     sync.Mutex
	last   time.Time
	gaps   []time.Duration // between looks
}

// ListMachines lists the machines unless they are as before.
func (l *listing) ListMachines(ctx context.Context, r *nodepb.ListMachinesRequest) (*nodepb.ListMachinesResponse, error) {
	l.mu.Lock()
	now := time.Now()
	if !l.last.IsZero() {
		l.gaps = append(l.gaps, now.Sub(l.last))
	}
	l.last = now
	l.mu.Unlock()
	if l.silent.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if r.GetAsOf() == l.all.GetAsOf() {
		return &nodepb.ListMachinesResponse{AsOf: l.all.GetAsOf(), Unchanged: true}, nil
	}
	return l.all, nil
}

// readEstate makes an agent for each node, with the machines that its hosts have.
func readEstate(ctx context.Context, pool *pgxpool.Pool) (*estate, error) {
	e := &estate{agents: map[string]*listing{}}
	rows, err := pool.Query(ctx, `
		SELECT n.uuid::text, h.uuid::text, h.id, CASE h.state WHEN 'stopped' THEN 1 WHEN 'active' THEN 2 WHEN 'paused' THEN 3 ELSE 4 END
		FROM host h JOIN node n ON n.id = h.node_id ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	var node, uuid string
	var id, state int32
	_, err = pgx.ForEachRow(rows, []any{&node, &uuid, &id, &state}, func() error {
		if e.agents[node] == nil {
			e.agents[node] = &listing{all: &nodepb.ListMachinesResponse{AsOf: "as ever"}}
			e.names = append(e.names, node)
		}
		l := e.agents[node].all
		l.Machines = append(l.Machines, &nodepb.Machine{Uuid: uuid, HostId: id, State: nodepb.MachineState(state), StackId: "bench", Node: node, Fence: 1})
		return nil
	})
	return e, err
}

// watched runs f while a vm looks at the nodes.
func (e *estate) watched(ctx context.Context, pool *pgxpool.Pool, f func() error) error {
	log := slog.New(slog.DiscardHandler)
	events, err := bus.Connect(ctx, "nats://127.0.0.1:1") // no server listens there: nothing changes, so there are no events
	if err != nil {
		return err
	}
	defer events.Close()
	conns := map[string]grpc.ClientConnInterface{}
	for id, l := range e.agents {
		s := rpc.NewServer(log, nil)
		nodepb.RegisterNodeServiceServer(s, l)
		conns[id] = s.Local("vm")
	}
	nobody := rpc.NewServer(log, nil).Local(vm.Schema)
	svc, err := vm.New(ctx, vm.Config{Name: "bench"}, service.Deps{
		Pool: pool, Bus: events, Log: log, Peers: service.Peers{"auth": nobody, "ip": nobody},
		Dial: func(node, _ string) (grpc.ClientConnInterface, error) {
			if c := conns[node]; c != nil {
				return c, nil
			}
			return nil, errors.New("the node of the first start is gone")
		},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	err = f()
	stop()
	return errors.Join(err, <-done)
}

// measureLooks measures the first round, the rounds at rest, and those while some nodes are silent.
func (b *bench) measureLooks(ctx context.Context, e *estate, hosts, postgres int) error {
	what := fmt.Sprintf("looks at %d nodes with %d hosts", len(e.names), hosts)
	const window = 30 * time.Second
	for _, m := range []struct {
		name   string
		silent int
	}{{"after a start", 0}, {"at rest", 0}, {fmt.Sprint(silentNodes, " silent"), silentNodes}} {
		for _, id := range e.names[:min(m.silent, len(e.names))] {
			e.agents[id].silent.Store(true)
		}
		for _, l := range e.agents {
			l.mu.Lock()
			l.gaps = nil
			l.mu.Unlock()
		}
		own, db, at := cpuOfSelf(), cpuOfPostgres(postgres), time.Now()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(window):
		}
		took := time.Since(at).Seconds()
		own, db = cpuOfSelf()-own, cpuOfPostgres(postgres)-db
		var gaps []time.Duration
		for _, id := range e.names[m.silent:] {
			l := e.agents[id]
			l.mu.Lock()
			gaps = append(gaps, l.gaps...)
			l.mu.Unlock()
		}
		if slices.Sort(gaps); len(gaps) == 0 {
			return errors.New("no node was looked at twice")
		}
		b.row(what+", "+m.name, fmt.Sprintf("every %s, at most %s", gaps[len(gaps)/2].Round(10*time.Millisecond), gaps[len(gaps)-1].Round(10*time.Millisecond)),
			fmt.Sprintf("vm %.1f %% and PostgreSQL %.1f %% of a core", 100*own.Seconds()/took, 100*db.Seconds()/took), "bar 10 s, vm 50 %")
	}
	return nil
}

// cpuOfSelf returns the processor time of this process.
func cpuOfSelf() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// postmaster returns the process of the PostgreSQL server whose directory this is, 0 if there is none.
func postmaster(dir string) int {
	found, _ := filepath.Glob(filepath.Join(dir, "*", "postmaster.pid")) // the pattern is good
	for _, f := range found {
		text, _ := os.ReadFile(f)
		first, _, _ := strings.Cut(string(text), "\n")
		if pid, err := strconv.Atoi(first); err == nil {
			return pid
		}
	}
	return 0
}

// cpuOf returns the processor time of a process.
func cpuOf(pid int) time.Duration { return cpuWhere(func(p, _ int) bool { return p == pid }) }

// cpuOfPostgres returns the processor time of a server's processes, those that ended too.
func cpuOfPostgres(server int) time.Duration {
	return cpuWhere(func(pid, parent int) bool { return pid == server || parent == server })
}

// cpuWhere adds up the processor time of processes, and of their children that have ended.
func cpuWhere(counts func(pid, parent int) bool) (sum time.Duration) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, f := range all {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it ended meanwhile
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 15 || !counts(number(filepath.Base(filepath.Dir(f))), number(fields[1])) {
			continue
		}
		for _, ticks := range fields[11:15] {
			sum += time.Duration(number(ticks)) * time.Second / 100 // USER_HZ
		}
	}
	return sum
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
