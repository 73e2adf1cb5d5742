package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/pg/pgembed"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/rpc"
)

// agents come back after vm was away.
const agents = 500

// back measures vm's answers while 500 agents return in the same instant. Real agents spread over half a minute. Each
// round asks in turn: calm, and from that instant on.
func (b *bench) back(ctx context.Context) error {
	db, err := pgembed.Start(ctx, pgembed.Config{Dir: filepath.Join(b.dir, "postgres-back")})
	if err != nil {
		return err
	}
	defer db.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // its data is thrown away
	return b.withProcesses(ctx, "back", db.URL(), func(a *api, _ []*process) error {
		ca, err := pki.OpenAuthority(filepath.Join(b.dir, "certs-back"))
		if err != nil {
			return err
		}
		all := make([]returning, agents)
		for i := range all {
			conn, err := all[i].dial(b.vm, ca)
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:revive // the function ends with the measurement
		}
		return b.measureBack(ctx, a, all)
	})
}

// returning is an agent that comes back, over a connection of its own.
type returning struct {
	id string
	vm vmpb.NodeServiceClient
}

// dial connects to vm with a certificate of a new node.
func (r *returning) dial(vm string, ca *pki.Authority) (*grpc.ClientConn, error) {
	id := uuid.New()
	cert, err := ca.Issue(pki.NodeService, time.Hour, pki.NodeURI(id))
	if err != nil {
		return nil, err
	}
	conn, err := rpc.Dial(vm, "vm", ca.Config(cert))
	r.id, r.vm = id.String(), vmpb.NewNodeServiceClient(conn)
	return conn, err
}

func (b *bench) measureBack(ctx context.Context, a *api, returned []returning) error {
	if _, _, err := comeBack(ctx, returned); err != nil { // they are known from now on
		return err
	}
	t := target{name: "a list", url: a.url + "/vm/v3/node?limit=1", token: a.token, conns: 4}
	var calm, busy, alone, all, took []time.Duration
	for range b.rounds {
		r, err := load(ctx, t, b.length)
		if err != nil {
			return err
		}
		calm = append(calm, r.p99)
		var one []time.Duration
		for i := range 50 {
			_, d, err := comeBack(ctx, returned[i:i+1])
			if err != nil {
				return err
			}
			one = append(one, d)
		}
		slices.Sort(one)
		alone = append(alone, percentile(one, 0.99))
		var signs []time.Duration
		var whole time.Duration
		failed := make(chan error, 1)
		go func() {
			var err error
			signs, whole, err = comeBack(ctx, returned)
			failed <- err
		}()
		if r, err = load(ctx, t, b.length); err != nil {
			return err
		}
		if err := <-failed; err != nil {
			return err
		}
		busy, all, took = append(busy, r.p99), append(all, percentile(signs, 0.99)), append(took, whole)
	}
	b.row("p99 of a list while 500 agents come back at once", ms(median(busy)), "calm "+ms(median(calm)), fmt.Sprintf("%.1f ×", float64(median(busy))/float64(median(calm))))
	b.row("p99 of their signs of life", ms(median(all)), "one alone "+ms(median(alone)), "all heard within "+ms(median(took)))
	return nil
}

// comeBack registers agents at the same time. It returns the time that each took, sorted, and the total.
func comeBack(ctx context.Context, returned []returning) (took []time.Duration, all time.Duration, err error) {
	took = make([]time.Duration, len(returned))
	var wg sync.WaitGroup
	var mu sync.Mutex
	start := time.Now()
	for i, r := range returned {
		wg.Go(func() {
			at := time.Now()
			_, signErr := r.vm.RegisterNode(ctx, &vmpb.RegisterNodeRequest{Endpoint: "127.0.0.1:9", Description: &nodepb.Description{
				Uuid: r.id, StackId: "bench", Hostname: "agent-" + r.id[:8], CpuNumber: 1, RamMib: 1024, StorageMib: 1024, StorageFreeMib: 1024,
				Hypervisor: "sim", Accel: "sim", BootId: "bench", Bridge: "bench",
			}})
			took[i] = time.Since(at)
			if signErr != nil {
				mu.Lock()
				defer mu.Unlock()
				err = signErr
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took, time.Since(start), err
}
