package ip_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
)

// An allocator gives addresses. The checker knows nothing else of it.
type allocator interface {
	claim(ctx context.Context, owner string) (ip string, err error)
	release(ctx context.Context, owner string) error
}

// take is an operation on one address: an owner gets the address, or gives it back.
type take struct {
	owner string
	back  bool
}

// one is what each address has to look like from outside: it has one owner or none, who got it last and gives it back.
var one = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		switch t := input.(take); {
		case t.back:
			return state == t.owner, ""
		default:
			return state == "", t.owner
		}
	},
}

// drive makes n operations on a, and returns those of each address.
func drive(ctx context.Context, seed uint64, a allocator, n int) (map[string][]porcupine.Operation, error) {
	const clients = 8
	var mu sync.Mutex
	history := map[string][]porcupine.Operation{}
	var failed error
	begin := time.Now()
	record := func(client int, ip string, t take, called int64, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = err
			return
		}
		history[ip] = append(history[ip], porcupine.Operation{
			ClientId: client, Input: t, Call: called, Return: time.Since(begin).Nanoseconds(),
		})
	}
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(client)))
			held := map[string]string{} // owner to address
			var owners []string
			for i := range n / clients {
				called := time.Since(begin).Nanoseconds()
				if len(owners) > 0 && (r.IntN(2) == 0 || len(owners) > 1) {
					k := r.IntN(len(owners))
					o := owners[k]
					owners = append(owners[:k], owners[k+1:]...)
					err := a.release(ctx, o)
					record(client, held[o], take{o, true}, called, err)
					continue
				}
				o := fmt.Sprintf("%08d-0000-4000-8000-%04d%08d", seed+1, client, i)
				ip, err := a.claim(ctx, o)
				if f, ok := fault.From(err); ok && f.Reason == "NO_FREE_ADDRESS" {
					continue
				}
				record(client, ip, take{o, false}, called, err)
				held[o], owners = ip, append(owners, o)
			}
		})
	}
	wg.Wait()
	return history, failed
}

func linearizable(history map[string][]porcupine.Operation) (bad []string) {
	for ip, ops := range history {
		if !porcupine.CheckOperations(one, ops) {
			bad = append(bad, ip)
		}
	}
	return bad
}

// tested is the allocator that is tested.
type tested struct{ ippb.AddressServiceClient }

func (s tested) claim(ctx context.Context, owner string) (string, error) {
	r, err := s.Reserve(ctx, &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1})
	if err != nil {
		return "", err
	}
	return r.GetAddresses()[0].GetIpAddr(), nil
}

func (s tested) release(ctx context.Context, owner string) error {
	r, err := s.Release(ctx, &ippb.ReleaseRequest{Owner: owner})
	if err == nil && r.GetReleased() != 1 {
		return fmt.Errorf("%s gave back %d addresses", owner, r.GetReleased())
	}
	return err
}

// TestLinearizable: whatever the order of claims and releases, each address looks as if it had one owner at a time. Four
// seeds of 2,000 operations in make unit, twenty of 10,000 in make chaos.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.noQuarantine(t)
	w.network(t, "10.0.0.0/16")
	w.newPool(t, "p", "10.0.0.16/28")
	for seed := range uint64(rounds(4, 20)) {
		history, err := drive(t.Context(), seed, tested{w.addresses}, rounds(2000, 10_000))
		if err != nil {
			t.Fatal(err)
		}
		if bad := linearizable(history); len(bad) > 0 {
			t.Errorf("seed %d: %v had two owners", seed, bad)
		}
		w.exec(t, `UPDATE address SET state = 'free', owner = NULL, claim = NULL, position = NULL, until = NULL WHERE owner IS NOT NULL`)
	}
}

// racy looks for a free address and takes it afterwards, as many do.
type racy struct {
	mu    sync.Mutex
	owner [16]string
}

func (r *racy) claim(_ context.Context, owner string) (string, error) {
	r.mu.Lock()
	free := -1
	for i, o := range r.owner {
		if o == "" {
			free = i
			break
		}
	}
	r.mu.Unlock()
	if free < 0 {
		return "", fault.New(0, "NO_FREE_ADDRESS", "")
	}
	runtime.Gosched()
	r.mu.Lock()
	r.owner[free] = owner
	r.mu.Unlock()
	return fmt.Sprint(free), nil
}

func (r *racy) release(_ context.Context, owner string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, o := range r.owner {
		if o == owner {
			r.owner[i] = ""
		}
	}
	return nil
}

// TestCheckerCatchesRaces: the checker is worth something, for it finds a race that is there.
func TestCheckerCatchesRaces(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds(4, 20)) {
		history, err := drive(t.Context(), seed, &racy{}, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		if len(linearizable(history)) == 0 {
			t.Errorf("seed %d: two owners of one address were not noticed", seed)
		}
	}
}
