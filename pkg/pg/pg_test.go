package pg_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func line(name string, files ...string) pg.Line {
	m := fstest.MapFS{}
	for i, sql := range files {
		m["migrations/000"+string(rune('1'+i))+"_x.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + strings.ReplaceAll(sql, "\t", "") + ";")}
	}
	return pg.Line{Name: name, FS: m}
}

func TestMigrateFromManyProcessesAtOnce(t *testing.T) {
	t.Parallel()
	url, schema := pgtest.Schema(t)
	lines := []pg.Line{line("a", `SELECT pg_sleep(0.1); CREATE TABLE a (id int)`, `ALTER TABLE a ADD b int`), line("b", `CREATE TABLE b (id int)`)}
	var wg sync.WaitGroup
	errs := make(chan error, 6)
	for range cap(errs) {
		wg.Go(func() {
			pool, err := pg.Open(t.Context(), url, schema)
			if err != nil {
				errs <- err
				return
			}
			defer pool.Close()
			errs <- pg.Migrate(t.Context(), pool, lines...)
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	pool := pgtest.Open(t, url, schema)
	var tables string
	err := pool.QueryRow(t.Context(), `
		SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = $1`, schema).Scan(&tables)
	if err != nil || tables != "a b migration_a migration_b" {
		t.Errorf("tables %q %v", tables, err)
	}
}

func TestInTxRetries(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for _, tt := range []struct {
		name  string
		fails int
		code  string
		runs  int
		ok    bool
	}{
		{"serialization heals", 3, "40001", 4, true},
		{"deadlock heals", 1, "40P01", 2, true},
		{"five tries in all", 99, "40001", 5, false},
		{"others are not retried", 99, "23505", 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			runs := 0
			err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
				runs++
				if runs > tt.fails {
					return nil
				}
				_, err := tx.Exec(t.Context(), `DO $$ BEGIN RAISE 'no' USING ERRCODE = '`+tt.code+`'; END $$`)
				return err
			})
			if runs != tt.runs || (err == nil) != tt.ok {
				t.Errorf("%d runs, want %d; error %v", runs, tt.runs, err)
			}
			if tt.fails > 5 && tt.runs == 5 && !errors.Is(err, fault.Unavailable) {
				t.Errorf("%v is not unavailable", err)
			}
		})
	}
}

// Of two transactions that lock two rows in opposite order one is aborted, and both succeed in the end.
func TestInTxSurvivesADeadlock(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, line("a", `CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a VALUES (1, 0), (2, 0)`))
	var both sync.WaitGroup
	both.Add(2)
	first := []sync.Once{{}, {}}
	cross := func(i int) error {
		return pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			for step, id := range [][]int{{1, 2}, {2, 1}}[i] {
				if _, err := tx.Exec(t.Context(), `UPDATE a SET n = n + 1 WHERE id = $1`, id); err != nil {
					return err
				}
				if step == 0 {
					first[i].Do(func() { both.Done(); both.Wait() })
				}
			}
			return nil
		})
	}
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			if err := cross(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var sum int
	if err := pool.QueryRow(t.Context(), `SELECT sum(n) FROM a`).Scan(&sum); err != nil || sum != 4 {
		t.Errorf("sum %d %v", sum, err)
	}
}

// A connection that dies while the commit is under way leaves the outcome unknown: fn must not run again.
func TestInTxNeverRepeatsAnUnknownCommit(t *testing.T) {
	t.Parallel()
	// The trigger is deferred, so it ends the backend in the middle of COMMIT.
	pool := pgtest.New(t, line("a", `
		CREATE TABLE a (id int);
		-- +goose StatementBegin
		CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN NULL; END $$;
		-- +goose StatementEnd
		CREATE CONSTRAINT TRIGGER die AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die();`))
	runs := 0
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		runs++
		_, err := tx.Exec(t.Context(), `INSERT INTO a VALUES (1)`)
		return err
	})
	if !errors.Is(err, pg.ErrUnknownCommit) || runs != 1 {
		t.Errorf("%d runs, error %v", runs, err)
	}
}

func TestInTxRollsBackOnPanicAndCancel(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, line("a", `CREATE TABLE a (id int)`))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			_, _ = tx.Exec(t.Context(), `INSERT INTO a VALUES (1)`)
			panic("no")
		})
	}()
	ctx, cancel := context.WithCancel(t.Context())
	err := pg.InTx(ctx, pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO a VALUES (2)`)
		cancel()
		return err
	})
	if err == nil {
		t.Error("committed although the context was over")
	}
	var n int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM a`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows %v", n, err)
	}
	if used := pool.Stat().AcquiredConns(); used != 0 {
		t.Errorf("%d connections not given back", used)
	}
}

// A server that became read-only answers pings, so a connection must be closed when it gets the error 25006.
func TestReadOnlyNodeIsLeft(t *testing.T) {
	t.Parallel()
	url, schema := pgtest.Schema(t)
	pool := pgtest.Open(t, url+"&pool_max_conns=1", schema)
	pid := func() (n int) {
		if err := pool.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := pid()
	if _, err := pool.Exec(t.Context(), `SET default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `CREATE TABLE a (id int)`); pg.Code(err) != "25006" {
		t.Fatalf("error %v", err)
	}
	if after := pid(); after == before {
		t.Error("the pool stayed on the read-only connection")
	}
	if _, err := pool.Exec(t.Context(), `CREATE TABLE a (id int)`); err != nil {
		t.Error(err)
	}
}

func TestViolations(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, line("a", `
		CREATE TABLE a (id int CONSTRAINT a_one PRIMARY KEY, n int,
			up int CONSTRAINT a_up REFERENCES a, CONSTRAINT a_apart EXCLUDE USING gist (int4range(id, id + n) WITH &&));
		INSERT INTO a VALUES (1, 2)`))
	for _, tt := range []struct {
		sql  string
		is   func(error, string) bool
		name string
	}{
		{`INSERT INTO a VALUES (1, 0)`, pg.IsUnique, "a_one"},
		{`INSERT INTO a VALUES (9, 1, 77)`, pg.IsForeignKey, "a_up"},
		{`INSERT INTO a VALUES (2, 2)`, pg.IsExclusion, "a_apart"},
	} {
		_, err := pool.Exec(t.Context(), tt.sql)
		if !tt.is(err, tt.name) || !tt.is(err, "") || tt.is(err, "other") {
			t.Errorf("%s: %v", tt.sql, err)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	if _, err := pg.Open(t.Context(), "postgres://%zz", "x"); err == nil || !strings.Contains(err.Error(), "database url") {
		t.Error(err)
	}
}

func TestInTxSaysThatTheDatabaseWentAway(t *testing.T) {
	t.Parallel()
	err := pg.InTx(t.Context(), pgtest.New(t), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`)
		return err
	})
	if !errors.Is(err, fault.Unavailable) {
		t.Errorf("%v: the caller may repeat it", err)
	}
}
