// Command gotest runs go test with the arguments that it gets, and prints what go test prints without -v: a line for each
// package, and everything that a failed test has said. How long each test took goes to the file that GOTEST_TIMES names; with
// -slowest the slowest of that file are shown.
//
//	gotest [argument of go test]…
//	gotest -slowest 10 FILE
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	if len(args) == 3 && args[0] == "-slowest" {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return 2, err
		}
		return 0, printSlowest(os.Stdout, args[2], n)
	}
	signal.Ignore(os.Interrupt)                                              // go test gets it too; its last words are still printed
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...) // #nosec G204 -- running its arguments is what gotest is for
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	times, err := show(out, os.Stdout)
	if err != nil {
		_, _ = io.Copy(io.Discard, out) // so that go test ends
	}
	code := 0
	if exit := new(exec.ExitError); errors.As(cmd.Wait(), &exit) {
		code = max(exit.ExitCode(), 1)
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			err = errors.Join(err, fmt.Errorf("go test: %w", exit))
		}
	}
	return code, errors.Join(err, record(os.Getenv("GOTEST_TIMES"), times))
}
