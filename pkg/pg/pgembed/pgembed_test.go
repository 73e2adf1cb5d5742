package pgembed_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg/pgembed"
)

// helperDir makes the test binary a process that starts a server there and waits to be killed.
const helperDir = "PGEMBED_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		helper(dir, os.Getenv("PGEMBED_TEST_FAST") != "")
		return
	}
	os.Exit(m.Run())
}

func helper(dir string, fast bool) {
	s, err := pgembed.Start(context.Background(), pgembed.Config{Dir: dir, Fast: fast})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	<-s.Done()
}

// tempDir is one that PostgreSQL's user can reach, which t.TempDir is not.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgembed-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, dir string) *pgembed.Server {
	t.Helper()
	s, err := pgembed.Start(t.Context(), pgembed.Config{Dir: dir, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *pgembed.Server) {
	t.Helper()
	ctx, done := context.WithTimeout(context.Background(), 20*time.Second)
	defer done()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, url string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if _, err := c.Exec(t.Context(), `CREATE TABLE kept AS SELECT 'survived' AS word`); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, url, sql string) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	var out string
	if err := c.QueryRow(t.Context(), sql).Scan(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRestartKeepsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(tempDir(t), strings.Repeat("long/", 20), "db") // too long for a socket
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	first := start(t, dir)
	write(t, first.URL())
	stop(t, first)
	select {
	case <-first.Done():
	default:
		t.Error("Stop returned before the server ended")
	}
	stop(t, first) // a second Stop does no harm

	second := start(t, dir)
	if got := ask(t, second.URL(), `SELECT word FROM kept`); got != "survived" {
		t.Errorf("after the restart: %q", got)
	}
	for name, want := range map[string]string{
		"server_encoding": "UTF8", "listen_addresses": "", "max_connections": "1000", "lc_collate": "C.UTF-8",
	} {
		if got := ask(t, second.URL(), `SELECT setting FROM pg_settings WHERE name = '`+name+`'`); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestTwoServersSideBySide(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	a, b := start(t, filepath.Join(dir, "a")), start(t, filepath.Join(dir, "b"))
	if a.URL() == b.URL() {
		t.Fatalf("both at %s", a.URL())
	}
	ask(t, a.URL(), `SELECT 'a'`)
	ask(t, b.URL(), `SELECT 'b'`)

	_, err := pgembed.Start(t.Context(), pgembed.Config{Dir: filepath.Join(dir, "a"), Fast: true})
	if err == nil || !strings.Contains(err.Error(), "another process uses") {
		t.Errorf("a second server on the same directory: %v", err)
	}
	ask(t, a.URL(), `SELECT 'still here'`)
}

func TestUnreachableDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("an ordinary user runs PostgreSQL as itself and reaches its own directories")
		return
	}
	closed := filepath.Join(tempDir(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := pgembed.Start(t.Context(), pgembed.Config{Dir: filepath.Join(closed, "db"), Fast: true})
	if err == nil || !strings.Contains(err.Error(), "chmod o+x "+closed) {
		t.Errorf("error %v does not say what to do about %s", err, closed)
	}
}

// A kill -9 of the process takes the server with it, and the next start on the same data just works.
func TestServerDiesWithItsProcess(t *testing.T) {
	t.Parallel()
	for _, fast := range []string{"", "1"} {
		t.Run("fast="+fast, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(tempDir(t), "db")
			cmd, url := startHelper(t, dir, fast)
			write(t, url)
			pid := postmaster(t, dir)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // "signal: killed"
			if fast != "" {
				awaitDeath(t, pid) // by the kernel's hand; the other case leaves that to the next start
			}

			s, err := pgembed.Start(t.Context(), pgembed.Config{Dir: dir, Fast: fast != ""})
			if err != nil {
				t.Fatal(err)
			}
			defer stop(t, s)
			if alive(pid) {
				t.Errorf("the server %d survived its process", pid)
			}
			if fast != "" {
				return // promises nothing but to start again
			}
			if got := ask(t, s.URL(), `SELECT word FROM kept`); got != "survived" {
				t.Errorf("read %q", got)
			}
		})
	}
}

// A pid file that names a process which is no server of this directory must not keep the server from starting, and that
// process must not be touched.
func TestPidOfSomebodyElse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(tempDir(t), "db")
	s := start(t, dir)
	stop(t, s)
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	file := filepath.Join(dir, "data", "postmaster.pid")
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n%s\n", other.Process.Pid, filepath.Join(dir, "data")), 0o600); err != nil {
		t.Fatal(err)
	}
	ask(t, start(t, dir).URL(), `SELECT 'up'`)
	if !alive(other.Process.Pid) {
		t.Error("a foreign process was killed")
	}
}

func TestDoneTellsOfADeath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(tempDir(t), "db")
	s := start(t, dir)
	if err := syscall.Kill(postmaster(t, dir), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(2 * time.Minute):
		t.Fatal("Done was not closed")
	}
}

func startHelper(t *testing.T, dir, fast string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperDir+"="+dir, "PGEMBED_TEST_FAST="+fast)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(url, "postgres://") {
		t.Fatalf("helper: %q %v", url, err)
	}
	return cmd, strings.TrimSpace(url)
}

func postmaster(t *testing.T, dir string) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(raw), &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func awaitDeath(t *testing.T, pid int) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for alive(pid) {
		select {
		case <-limit:
			t.Fatalf("the server %d survives its process", pid)
		case <-tick.C:
		}
	}
}

func alive(pid int) bool {
	st, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(st), ") Z ")
}
