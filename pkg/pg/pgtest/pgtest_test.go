package pgtest_test

import (
	"testing"

	"slipway.dev/pkg/pg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestEveryTestHasItsOwnSchema(t *testing.T) {
	t.Parallel()
	a, b := pgtest.New(t), pgtest.New(t)
	if pgtest.SchemaOf(a) == pgtest.SchemaOf(b) {
		t.Fatalf("both pools are on %s", pgtest.SchemaOf(a))
	}
	if _, err := a.Exec(t.Context(), `CREATE TABLE thing (id int)`); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Exec(t.Context(), `SELECT id FROM thing`); err == nil {
		t.Fatal("a table is seen from the other schema")
	}
}
