package idem_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// shop is a service that makes things, one a call.
type shop struct {
	*testing.T
	pool   *pgxpool.Pool
	keeper *idem.Keeper
	forget bool // the planted bug: the answer is kept after the effect, not with it
}

func newShop(t *testing.T) *shop {
	t.Helper()
	pool := pgtest.New(t, idem.Migrations, pg.Line{Name: "shop", FS: things})
	return &shop{T: t, pool: pool, keeper: idem.New(pool)}
}

func call(key, request string) idem.Call {
	return idem.Call{Account: 7, Key: key, Method: "/shop/Make", Request: wrapperspb.String(request)}
}

// make makes a thing; broken says how the answer is lost.
func (s *shop) make(ctx context.Context, c idem.Call, broken error) (int32, error) {
	m, err := s.keeper.Do(ctx, c, func(ctx context.Context) (proto.Message, error) {
		resp := &wrapperspb.Int32Value{}
		keep := func() error {
			return pg.InTx(ctx, s.pool, func(tx pgx.Tx) error { return idem.Keep(ctx, tx, resp) })
		}
		err := pg.InTx(ctx, s.pool, func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, `INSERT INTO thing (name) VALUES ($1) RETURNING id`, c.Key).Scan(&resp.Value); err != nil || s.forget {
				return err
			}
			return idem.Keep(ctx, tx, resp)
		})
		if err == nil {
			err = broken
		}
		if err == nil && s.forget {
			err = keep()
		}
		return resp, err
	})
	if err != nil {
		return 0, err
	}
	return m.(*wrapperspb.Int32Value).GetValue(), nil
}

func (s *shop) things() (n int) {
	s.Helper()
	if err := s.pool.QueryRow(s.Context(), `SELECT count(*) FROM thing`).Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

func TestManyRepeatsAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var wg sync.WaitGroup
	var ids sync.Map
	for k := range 20 {
		for range 10 {
			wg.Go(func() {
				key := fmt.Sprint("key ", k)
				id, err := s.make(t.Context(), call(key, "a thing"), nil)
				if err != nil {
					t.Error(err)
				}
				if first, seen := ids.LoadOrStore(key, id); seen && first != id {
					t.Errorf("%s answered %v and %v", key, first, id)
				}
			})
		}
	}
	wg.Wait()
	if n := s.things(); n != 20 {
		t.Errorf("%d things for 20 keys", n)
	}
}

func TestKeyForAnotherRequest(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	if _, err := s.make(t.Context(), call("k", "a"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.make(t.Context(), call("k", "b"), nil); !errors.Is(err, idem.ErrReused) {
		t.Errorf("another request with the key: %v", err)
	}
	other := call("k", "a")
	other.Method = "/shop/Break"
	if _, err := s.make(t.Context(), other, nil); !errors.Is(err, idem.ErrReused) {
		t.Errorf("another method with the key: %v", err)
	}
	stranger := call("k", "b")
	stranger.Account = 8
	if _, err := s.make(t.Context(), stranger, nil); err != nil {
		t.Errorf("the same key of another account: %v", err)
	}
	if n := s.things(); n != 2 {
		t.Errorf("%d things", n)
	}
}

func TestRefusalIsNotKept(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	refuse := func(context.Context) (proto.Message, error) { return nil, fault.Denied }
	if _, err := s.keeper.Do(t.Context(), call("k", "a"), refuse); !errors.Is(err, fault.Denied) {
		t.Fatal(err)
	}
	if _, err := s.make(t.Context(), call("k", "corrected"), nil); err != nil {
		t.Errorf("a corrected request with the key of a refused one: %v", err)
	}
}

// lostAnswer breaks the connection during a commit that succeeds. The checker counts things, so it must find the planted bug,
// an answer that is not stored with its effect.
func lostAnswer(t *testing.T, forget bool) (things int) {
	t.Helper()
	s := newShop(t)
	s.forget = forget
	first, err := s.make(t.Context(), call("k", "a"), pg.ErrUnknownCommit)
	if !forget && err != nil {
		t.Errorf("the commit had happened, and the answer is %v", err)
	}
	second, err := s.make(t.Context(), call("k", "a"), nil)
	if err != nil || !forget && first != second {
		t.Errorf("first %d, repeat %d %v", first, second, err)
	}
	return s.things()
}

func TestAnswerLostAfterTheCommit(t *testing.T) {
	t.Parallel()
	if n := lostAnswer(t, false); n != 1 {
		t.Errorf("%d things for one key", n)
	}
	if n := lostAnswer(t, true); n != 2 {
		t.Errorf("the planted bug is not seen: %d things", n)
	}
}

func TestOwnerThatDied(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	died := atomic.Bool{}
	_, err := s.keeper.Do(t.Context(), call("k", "a"), func(ctx context.Context) (proto.Message, error) {
		// The lease of the call ends while it works, and a repeat takes over: the effect of the late call must not commit.
		if _, err := s.pool.Exec(ctx, `UPDATE idem SET until = now() - interval '1 second'`); err != nil {
			t.Fatal(err)
		}
		if _, err := s.make(t.Context(), call("k", "a"), nil); err != nil {
			t.Fatal(err)
		}
		died.Store(true)
		resp := wrapperspb.Int32(0)
		return resp, pg.InTx(ctx, s.pool, func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, `INSERT INTO thing (name) VALUES ('late') RETURNING id`).Scan(&resp.Value); err != nil {
				return err
			}
			return idem.Keep(ctx, tx, resp)
		})
	})
	if !errors.Is(err, idem.ErrUnderWay) || !died.Load() {
		t.Errorf("the late owner: %v", err)
	}
	if n := s.things(); n != 1 {
		t.Errorf("%d things for one key", n)
	}
}

func TestHandlerThatKeepsNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	_, err := s.keeper.Do(t.Context(), call("k", "a"), func(context.Context) (proto.Message, error) { return wrapperspb.Int32(1), nil })
	if err == nil {
		t.Error("a handler that keeps no answer is not noticed")
	}
}

func TestKeyIsNotReadableInTheTable(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	if _, err := s.make(t.Context(), call("canary-key", "canary-request"), nil); err != nil {
		t.Fatal(err)
	}
	var text string
	if err := s.pool.QueryRow(t.Context(), `SELECT string_agg(encode(key, 'escape') || encode(request, 'escape'), ' ') FROM idem`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"canary-key", "canary-request"} {
		if len(text) == 0 || contains(text, secret) {
			t.Errorf("%s is in the table", secret)
		}
	}
	for _, bad := range []string{"", "a\nb", "ключ", string(make([]byte, idem.MaxKey+1))} {
		if idem.CheckKey(bad) == nil {
			t.Errorf("the key %.20q is taken", bad)
		}
	}
}
