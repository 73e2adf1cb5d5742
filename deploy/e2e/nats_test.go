//go:build e2e && !remote

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// asNATS makes this program a NATS server instead of a test: "address directory". A server inside the process of the test can
// only shut down, and then it flushes and says goodbye; a process can be killed.
const asNATS = "SLIPWAY_E2E_NATS"

func TestMain(m *testing.M) {
	if at := os.Getenv(asNATS); at != "" {
		if err := serveNATS(at); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveNATS serves until the process that started this one closes its end of stdin, or ends.
func serveNATS(at string) error {
	where, dir, _ := strings.Cut(at, " ")
	addr, err := netip.ParseAddrPort(where)
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{Host: addr.Addr().String(), Port: int(addr.Port()), JetStream: true, SyncAlways: true, StoreDir: dir, NoSigs: true})
	if err != nil {
		return err
	}
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// natsProcess is a NATS server that can be killed.
type natsProcess struct {
	cmd  *exec.Cmd
	hold io.Closer // its stdin
}

// startNATS returns when the server answers.
func startNATS(t *testing.T, addr, dir string, log io.Writer) *natsProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &natsProcess{cmd: exec.Command(self)}
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), fmt.Sprintf("%s=%s %s", asNATS, addr, dir)), log
	if p.hold, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(healing); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return p
		}
		if time.Now().After(deadline) {
			p.kill()
			t.Fatalf("nats does not answer: %v", err)
		}
	}
}

// kill is SIGKILL.
func (p *natsProcess) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.hold.Close()
}
