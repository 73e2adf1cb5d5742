package main

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// asPgrun makes the test binary pgrun.
const asPgrun = "PGRUN_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asPgrun) != "" {
		main()
	}
	os.Exit(m.Run())
}

// pgrun starts pgrun with a shell script and returns what the script writes.
func pgrun(t *testing.T, script string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "sh", "-c", script)
	cmd.Env = append(os.Environ(), asPgrun+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); in.Close() }) // which ends a script that reads
	return cmd, bufio.NewReader(out)
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	cmd, _ := pgrun(t, "exit 3")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("%v, want the command's code 3", err)
	}
}

// TestNothingIsLeft ends pgrun while its command runs: by a signal, and without a chance to clean up.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			cmd, out := pgrun(t, "echo $SLIPWAY_TEST_POSTGRES_URL; exec cat")
			line, err := out.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			server := strings.TrimSpace(line)
			if err := connect(t, server); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_, _ = cmd.Process.Wait() // not cmd.Wait: a command that outlives pgrun keeps the pipe open
			waitGone(t, server)
			if dir := dirOf(t, server); sig != syscall.SIGKILL {
				if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is left: %v", dir, err)
				}
			}
		})
	}
}

// waitGone waits until nothing answers at the URL.
func waitGone(t *testing.T, server string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for connect(t, server) == nil {
		select {
		case <-limit:
			t.Fatal("the server survives pgrun")
		case <-tick.C:
		}
	}
}

func connect(t *testing.T, server string) error {
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	c, err := pgx.Connect(ctx, server)
	if err == nil {
		err = c.Close(ctx)
	}
	return err
}

// dirOf returns the directory of the server with this URL, whose socket lies in it.
func dirOf(t *testing.T, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(u.Query().Get("host"))
}
