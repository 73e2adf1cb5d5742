package schema

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// unused are numbers below 0048 that no version of vm had: installations that are past them refuse a migration with one.
var unused = []string{"0034", "0035", "0036", "0037", "0039", "0040", "0042", "0043", "0044"}

// TestUpgrade: an installation that has the migrations up to 0048 gets those that came since.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	list, err := fs.Glob(Migrations.FS, "migrations/*.sql")
	if err != nil || len(list) < 2 {
		t.Fatal(list, err)
	}
	dir := t.TempDir()
	for _, path := range list {
		name := filepath.Base(path)
		if number, _, _ := strings.Cut(name, "_"); number > "0048" || slices.Contains(unused, number) {
			continue
		}
		text, err := fs.ReadFile(Migrations.FS, path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := pgtest.New(t, Lines[:len(Lines)-1]...)
	if err := pg.Migrate(t.Context(), pool, pg.Line{Name: Migrations.Name, FS: os.DirFS(dir)}); err != nil {
		t.Fatal(err)
	}
	if err := pg.Migrate(t.Context(), pool, Migrations); err != nil {
		t.Error(err)
	}
}
