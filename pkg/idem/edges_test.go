package idem_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/pg"
)

// never is a call that must not be carried out.
func (s *shop) never(context.Context) (proto.Message, error) {
	s.Error("the call was carried out")
	return nil, errors.New("never")
}

func (s *shop) exec(sql string, args ...any) {
	s.Helper()
	if _, err := s.pool.Exec(s.Context(), sql, args...); err != nil {
		s.Fatal(err)
	}
}

func (s *shop) entries() (n int) {
	s.Helper()
	if err := s.pool.QueryRow(s.Context(), `SELECT count(*) FROM idem`).Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

// TestLimitsOfKeys checks which keys are taken.
func TestLimitsOfKeys(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"": false, " ": true, "~": true, "a b~": true, strings.Repeat("x", idem.MaxKey): true, strings.Repeat("x", idem.MaxKey+1): false,
		"\x1f": false, "\x7f": false, "ok\x1f": false, "ok\x7f": false, "\x00ok": false, "a\x80b": false,
	} {
		if err := idem.CheckKey(key); (err == nil) != want {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// TestCallsThatCannotBegin checks that a call is not carried out when its key, its request or the database is no good.
func TestCallsThatCannotBegin(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	if _, err := s.keeper.Do(t.Context(), call("", "a"), s.never); !errors.Is(err, fault.Invalid) {
		t.Errorf("no key: %v", err)
	}
	if _, err := s.keeper.Do(t.Context(), call("k", "\xff"), s.never); err == nil {
		t.Error("a request that is no text is taken")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.keeper.Do(gone, call("k", "a"), s.never); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that is gone: %v", err)
	}
	s.exec(`ALTER TABLE idem RENAME TO away`)
	if _, err := s.keeper.Do(t.Context(), call("k", "a"), s.never); err == nil || !strings.Contains(err.Error(), "claim") {
		t.Errorf("no table: %v", err)
	}
	s.exec(`ALTER TABLE away RENAME TO idem`)
	if n := s.entries(); n != 0 {
		t.Errorf("%d keys are claimed", n)
	}
}

// TestClaimThatWaitsTooLong has the row of a key locked: the call has not begun, and the client may repeat it.
func TestClaimThatWaitsTooLong(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	if _, err := s.make(t.Context(), call("k", "a"), nil); err != nil {
		t.Fatal(err)
	}
	err := pg.InTx(t.Context(), s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT FROM idem FOR UPDATE`); err != nil {
			return err
		}
		if _, err := s.keeper.Do(t.Context(), call("k", "a"), s.never); !errors.Is(err, fault.Unavailable) {
			t.Errorf("the claim waited: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := s.entries(); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// TestReadThatFails has the client go between the claim and the read of the kept answer.
func TestReadThatFails(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	if _, err := s.make(t.Context(), call("k", "a"), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var acquired atomic.Int32
	cfg := s.pool.Config()
	cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) {
		if acquired.Add(1) == 2 {
			cancel()
		}
		return true, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if m, err := idem.New(pool).Do(ctx, call("k", "a"), s.never); !errors.Is(err, context.Canceled) || m != nil {
		t.Errorf("%v %v", m, err)
	}
}

// TestAnswersThatCannotBeRead has kept answers that this program cannot decode.
func TestAnswersThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	if _, err := s.make(t.Context(), call("k", "a"), nil); err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{`answer = '\xff'`, `answer_type = 'no.such.Message'`} {
		s.exec(`UPDATE idem SET ` + set)
		if m, err := s.keeper.Do(t.Context(), call("k", "a"), s.never); err == nil {
			t.Errorf("%s: %v", set, m)
		}
	}
}

// TestAnswersThatCannotBeKept has an answer that cannot be written, and a transaction that is broken.
func TestAnswersThatCannotBeKept(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for name, keep := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"no text": func(ctx context.Context, tx pgx.Tx) error { return idem.Keep(ctx, tx, wrapperspb.String("\xff")) },
		"a broken transaction": func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, `SELECT 1/0`)
			return idem.Keep(ctx, tx, wrapperspb.Int32(1))
		},
	} {
		_, err := s.keeper.Do(t.Context(), call(name, "a"), func(ctx context.Context) (proto.Message, error) {
			var kept error
			_ = pg.InTx(ctx, s.pool, func(tx pgx.Tx) error {
				kept = keep(ctx, tx)
				return errors.New("roll back")
			})
			if kept == nil || errors.Is(kept, idem.ErrUnderWay) {
				t.Errorf("%s: kept with %v", name, kept)
			}
			return nil, kept
		})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if n := s.entries(); n != 0 {
		t.Errorf("%d keys are still claimed", n)
	}
	if err := idem.Keep(t.Context(), nil, wrapperspb.Int32(1)); err != nil {
		t.Errorf("a call without a key: %v", err)
	}
}

// TestLateOwnerLeavesOthersAlone has a call lose its claim to a repeat, and fail: neither the claim nor the answer of the
// repeat becomes its own.
func TestLateOwnerLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	const end = `UPDATE idem SET until = now() - interval '1 second'`
	begun, finish, second := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	_, err := s.keeper.Do(t.Context(), call("k", "a"), func(context.Context) (proto.Message, error) {
		s.exec(end)
		go func() {
			_, err := s.keeper.Do(t.Context(), call("k", "a"), func(ctx context.Context) (proto.Message, error) {
				close(begun)
				<-finish
				resp := wrapperspb.Int32(5)
				return resp, pg.InTx(ctx, s.pool, func(tx pgx.Tx) error { return idem.Keep(ctx, tx, resp) })
			})
			second <- err
		}()
		<-begun
		return nil, fault.Denied
	})
	if !errors.Is(err, fault.Denied) || s.entries() != 1 {
		t.Errorf("the first, late: %v; %d entries", err, s.entries())
	}
	close(finish)
	if err := <-second; err != nil {
		t.Errorf("the second: %v", err)
	}
	for name, meanwhile := range map[string]func(){
		"answered by another": func() {
			s.exec(end + ` WHERE answer IS NULL`)
			if _, err := s.make(t.Context(), call("l", "a"), nil); err != nil {
				t.Error(err)
			}
		},
		"removed": func() { s.exec(`DELETE FROM idem WHERE answer IS NULL`) },
	} {
		s.exec(`DELETE FROM idem`)
		m, err := s.keeper.Do(t.Context(), call("l", "a"), func(context.Context) (proto.Message, error) {
			meanwhile()
			return nil, fault.Denied
		})
		if !errors.Is(err, fault.Denied) || m != nil {
			t.Errorf("%s: %v %v", name, m, err)
		}
	}
}

// TestRepeatWaits has a repeat come while the first request works: it waits, for as long as its client does.
func TestRepeatWaits(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	_, err := s.keeper.Do(t.Context(), call("k", "a"), func(context.Context) (proto.Message, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := s.keeper.Do(ctx, call("k", "a"), s.never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that goes: %v", err)
		}
		before := time.Now()
		if _, err := s.keeper.Do(t.Context(), call("k", "a"), s.never); !errors.Is(err, idem.ErrUnderWay) {
			t.Errorf("a client that stays: %v", err)
		}
		if took := time.Since(before); took < 9*time.Second {
			t.Errorf("the repeat waited %s", took)
		}
		if _, err := s.keeper.Do(t.Context(), call("k", "b"), s.never); !errors.Is(err, idem.ErrReused) {
			t.Errorf("another request: %v", err)
		}
		return nil, fault.Denied
	})
	if !errors.Is(err, fault.Denied) {
		t.Error(err)
	}
}

// TestOldAnswersGo checks that answers are kept for a day, and that then the key is free, before and after they are removed.
func TestOldAnswersGo(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	first, err := s.make(t.Context(), call("k", "a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.exec(`UPDATE idem SET made_at = now() - interval '23 hours'`)
	if again, err := s.make(t.Context(), call("k", "a"), nil); err != nil || again != first {
		t.Errorf("after 23 hours: %d, then %d %v", first, again, err)
	}
	s.exec(`UPDATE idem SET made_at = now() - interval '25 hours'`)
	if again, err := s.make(t.Context(), call("k", "b"), nil); err != nil || again == first {
		t.Errorf("after 25 hours: %d, then %d %v", first, again, err)
	}
	s.exec(`INSERT INTO idem (account_id, key, request, owner, until, made_at)
		SELECT i, '\x01', '\x01', 'old', now(), now() - interval '25 hours' FROM generate_series(1, 2500) i`)
	s.exec(`INSERT INTO idem (account_id, key, request, owner, until, made_at)
		SELECT i, '\x02', '\x01', 'young', now(), now() - interval '23 hours' FROM generate_series(1, 5) i`)
	err = pg.InTx(t.Context(), s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT FROM idem WHERE account_id = 1 AND owner = 'old' FOR UPDATE`); err != nil {
			return err
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- s.keeper.Run(ctx) }()
		for deadline := time.Now().Add(time.Minute); s.entries() != 7 && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond) // between two looks
		}
		if n := s.entries(); n != 7 { // the locked one, five young ones, and that of "k"
			t.Errorf("%d entries stay", n)
		}
		stop()
		return <-ended
	})
	if err != nil {
		t.Error(err)
	}
}

// deafConn is a connection to PostgreSQL that breaks instead of bringing the next answer when deaf is set.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (c deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.deaf.CompareAndSwap(true, false) {
		_ = c.Conn.Close()
		return 0, errors.New("cut off")
	}
	return n, err
}

// TestClaimWhoseAnswerIsLost has the connection break when the claim is made: the claim is given back, and a repeat is
// carried out at once.
func TestClaimWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var arm, deaf atomic.Bool
	cfg := s.pool.Config()
	cfg.MaxConns = 1
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return deafConn{c, &deaf}, err
	}
	cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) {
		if arm.CompareAndSwap(true, false) {
			deaf.Store(true)
		}
		return true, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	keeper := idem.New(pool)
	refuse := func(context.Context) (proto.Message, error) { return nil, fault.Denied }
	if _, err := keeper.Do(t.Context(), call("k", "a"), refuse); !errors.Is(err, fault.Denied) { // the connection knows the statement then
		t.Fatal(err)
	}
	arm.Store(true)
	if _, err := keeper.Do(t.Context(), call("k", "a"), s.never); err == nil || errors.Is(err, fault.Denied) {
		t.Errorf("the claim's answer was lost: %v", err)
	}
	if n := s.entries(); n != 0 {
		t.Errorf("%d claims stay", n)
	}
	if _, err := keeper.Do(t.Context(), call("k", "a"), refuse); !errors.Is(err, fault.Denied) {
		t.Errorf("the repeat: %v", err)
	}
}
