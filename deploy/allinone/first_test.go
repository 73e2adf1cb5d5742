package allinone

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); err == nil || !strings.Contains(err.Error(), "another slipway uses") {
		t.Errorf("a second process: %v", err)
	}
	unlock()
	again, err := lock(dir)
	if err != nil {
		t.Fatalf("after the first is gone: %v", err)
	}
	again()
}

func TestFirstStartIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := adminPassword(Config{Data: dir})
	if err != nil || len(first) < 20 {
		t.Fatalf("password %q %v", first, err)
	}
	if second, err := adminPassword(Config{Data: dir}); err != nil || second != first {
		t.Errorf("the next start has another password: %q %v", second, err)
	}
	if given, err := adminPassword(Config{Data: dir, AdminPassword: "given"}); err != nil || given != "given" {
		t.Errorf("given: %q %v", given, err)
	}
	if info, err := os.Stat(filepath.Join(dir, passwordFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("password file: %v %v", info.Mode(), err)
	}
	id, err := stackID(dir)
	if again, err2 := stackID(dir); err != nil || err2 != nil || again != id {
		t.Errorf("stack id %q, then %q %v %v", id, again, err, err2)
	}
}

// TestWipeTouchesOnlyOurs: a directory that no stack used is refused, one in use as well.
func TestWipeTouchesOnlyOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Wipe(t.Context(), dir, nil); err == nil {
		t.Error("a foreign directory was wiped")
	}
	if _, err := stackID(dir); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := Wipe(t.Context(), dir, nil); err == nil {
		t.Error("a directory in use was wiped")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestDatabaseThatIsAwayIsAnError(t *testing.T) {
	t.Parallel()
	cfg := Config{Data: t.TempDir(), PostgresURL: "postgres://127.0.0.1:1/none?connect_timeout=1"}
	if i, err := start(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil {
		i.stop()
		t.Error("nobody says so")
	}
}

// TestDamagedStackID: with another id all machines of the installation would be strangers.
func TestDamagedStackID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := stackID(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, idFile), 0); err != nil {
		t.Fatal(err)
	}
	if id, err := stackID(dir); err == nil || !strings.Contains(err.Error(), idFile+" is empty") {
		t.Errorf("an empty file gave the id %q: %v", id, err)
	}
}
