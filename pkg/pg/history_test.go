package pg_test

import (
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

var numbered = pg.Line{Name: "shop", FS: fstest.MapFS{"0001_shop.sql": &fstest.MapFile{Data: []byte(`-- +goose Up
CREATE TABLE sale (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE small (id smallint GENERATED ALWAYS AS IDENTITY (MAXVALUE 500) PRIMARY KEY);
CREATE TRIGGER settled BEFORE INSERT ON sale FOR EACH STATEMENT EXECUTE FUNCTION timeline_settled();
`)}}}

// sell returns the id of a new row.
func sell(t *testing.T, pool *pgxpool.Pool) (id int32, err error) {
	t.Helper()
	err = pool.QueryRow(t.Context(), `INSERT INTO sale DEFAULT VALUES RETURNING id`).Scan(&id)
	return id, err
}

// TestNewHistory: on a new timeline, or in another cluster, the first connection moves all numbers of the schema on, once, and
// rows that are numbered wait until the history is settled.
func TestNewHistory(t *testing.T) {
	t.Parallel()
	serverURL, schema := pgtest.Schema(t)
	first := pgtest.Open(t, serverURL, schema)
	if err := pg.Migrate(t.Context(), first, pg.Histories, numbered); err != nil {
		t.Fatal(err)
	}
	if id, err := sell(t, pgtest.Open(t, serverURL, schema)); id != 1 || err != nil {
		t.Errorf("on the history of the installation: %d, %v", id, err)
	}
	later := pgtest.With(serverURL, "slipway.timeline_base", "1")
	var ids []int32
	for range 3 { // processes that start one after the other
		pool := pgtest.Open(t, later, schema)
		if _, err := sell(t, pool); pg.Code(err) != "57P03" {
			t.Errorf("before the history is settled: %v", err)
		}
		list, err := pg.OpenHistories(t.Context(), pool)
		if err != nil || len(list) != 1 || list[0].Number != 2 || list[0].System == 0 {
			t.Fatalf("open are %v, %v", list, err)
		}
		if len(ids) > 0 {
			continue
		}
		if err := pg.Settle(t.Context(), pool, []pg.History{{System: list[0].System, Number: 3}, {System: 1, Number: 2}}); err != nil {
			t.Fatal(err)
		}
		if list, err := pg.OpenHistories(t.Context(), pool); err != nil || len(list) != 1 {
			t.Errorf("others are settled, and open are %v, %v", list, err)
		}
	}
	pool := pgtest.Open(t, later, schema)
	list, err := pg.OpenHistories(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if err := pg.Settle(t.Context(), pool, list); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		id, err := sell(t, pool)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	// What the refused ones took is lost too.
	if ids[0] <= 1_001 || ids[0] > 1_010 || ids[1] != ids[0]+1 {
		t.Errorf("ids %v: want those after 1001", ids)
	}
	var small int16
	if err := pool.QueryRow(t.Context(), `SELECT last_value FROM small_id_seq`).Scan(&small); err != nil || small != 500 {
		t.Errorf("a sequence that ends at 500 is at %d: %v", small, err)
	}
}
