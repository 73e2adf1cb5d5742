// Command pgrun runs a command beside a throwaway PostgreSQL, whose URL the command finds in the environment as
// SLIPWAY_TEST_POSTGRES_URL: one server for all packages of `go test`. The server is stopped when the command has ended, and
// is killed by the kernel if pgrun is.
//
//	pgrun go test work
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"slipway.dev/pkg/pg/pgtest"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: pgrun COMMAND [ARGUMENT]…")
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgrun:", err)
	}
	os.Exit(code)
}

// run returns the exit code of the command, or 1 with an error if the command or the server failed to start or to stop.
func run(args []string) (code int, err error) {
	signals := make(chan os.Signal, 4) // Ctrl-C reaches the command and us: the server stops after the command
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	server, err := pgtest.Start(context.Background())
	if err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := server.Stop(); stopErr != nil {
			code, err = 1, errors.Join(err, stopErr)
		}
	}()
	cmd := exec.Command(args[0], args[1:]...) // #nosec G204 G702 -- to run its arguments is the purpose of pgrun
	cmd.Env = append(os.Environ(), pgtest.EnvURL+"="+server.URL())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	return wait(cmd, signals)
}

// wait passes signals on to the command until the command ends.
func wait(cmd *exec.Cmd, signals <-chan os.Signal) (int, error) {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig) // the command may have ended just now
		case err := <-ended:
			if exit := new(exec.ExitError); errors.As(err, &exit) {
				return max(exit.ExitCode(), 1), nil // -1 after a signal
			}
			return 0, err
		}
	}
}
