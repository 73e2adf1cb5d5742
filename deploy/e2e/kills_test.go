//go:build e2e && !remote

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"slipway.dev/deploy/fsck"
	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/pg/pgembed"
	"slipway.dev/pkg/pki"
	"slipway.dev/services/auth"
)

// separate is every service as a program of its own, over mTLS, any of which may be killed. Database and bus are programs as
// well and are killed in the same way, by SIGKILL; of PostgreSQL, it is the first of its processes, whose death the others notice.
type separate struct {
	t    *testing.T
	dir  string
	pg   *pgembed.Server
	nats *natsProcess
	bus  string // the address of NATS
	addr map[string]string
	env  map[string][]string

	mu    sync.Mutex
	procs map[string]*exec.Cmd
	log   *os.File
	kills map[string]int
}

// daemons returns the programs in the order in which they start.
func daemons() (list []string) {
	for _, p := range parts.All() {
		list = append(list, p.Program())
	}
	return list
}

func newSeparate(t *testing.T) *separate {
	t.Helper()
	dir, err := os.MkdirTemp("", "slipway-kills-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &separate{t: t, dir: dir, addr: map[string]string{}, env: map[string][]string{}, procs: map[string]*exec.Cmd{}, kills: map[string]int{}}
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	s.startPostgres()
	free := freeAddresses(t, 1+len(parts.All()))
	s.bus = free[0]
	s.startNATS()
	certs, names, services := filepath.Join(dir, "certs"), []string{}, []string{}
	for i, p := range parts.All() {
		names, s.addr[p.Name] = append(names, p.Name), free[i+1]
		if p.Migrate != nil {
			services = append(services, p.Name+"="+s.addr[p.Name])
		}
	}
	if err := errors.Join(pki.Write(certs, time.Hour, names...), pki.WriteNode(certs, time.Hour, uuid.New())); err != nil {
		t.Fatal(err)
	}
	for _, part := range parts.All() {
		p := part.Prefix()
		s.env[part.Program()] = []string{
			p + "DATABASE=" + s.pg.URL(), p + "NATS=" + "nats://" + s.bus, p + "CERTS=" + certs, p + "LISTEN=" + s.addr[part.Name],
			p + "SERVICES=" + strings.Join(services, ","), p + "VM=" + s.addr["vm"], p + "ADMIN_PASSWORD=" + adminPassword,
			p + "HYPERVISOR=sim", p + "ROOT=" + filepath.Join(dir, "node"), p + "STACK_ID=kills", p + "ENDPOINT=" + s.addr["node"],
			p + "TEMPLATES=" + filepath.Join(filepath.Dir(program(t)), "templates"), "SLIPWAY_LOG=warn",
			p + "MASTER_KEY=" + auth.NewMasterKey(),
		}
		s.launch(part.Program())
	}
	t.Cleanup(s.end)
	return s
}

// startPostgres also waits for what a killed server leaves: its other processes hold the data until they have noticed.
func (s *separate) startPostgres() {
	s.t.Helper()
	for deadline := time.Now().Add(healing); ; time.Sleep(100 * time.Millisecond) {
		var err error
		if s.pg, err = pgembed.Start(context.Background(), pgembed.Config{Dir: filepath.Join(s.dir, "postgres")}); err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

// killPostgres is SIGKILL to its first process.
func (s *separate) killPostgres() {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "postgres", "data", "postmaster.pid"))
	first, _, _ := strings.Cut(string(text), "\n")
	pid, convErr := strconv.Atoi(first)
	if err := errors.Join(err, convErr); err != nil || pid <= 1 {
		s.t.Fatalf("the first process of PostgreSQL: %d %v", pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	_ = s.pg.Stop(context.Background()) // it has ended: this lets go of its lock
}

func (s *separate) startNATS() {
	s.t.Helper()
	s.nats = startNATS(s.t, s.bus, filepath.Join(s.dir, "nats"), s.log)
}

// freeAddresses returns addresses for servers that are killed and come back to the same ones. They are on a loopback address
// of this process alone: no other program asks for a port there, and no connection goes out from there.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	pid := os.Getpid()
	var list []string
	for range n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+pid>>16&63, pid>>8&255, pid&255))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // once all are chosen, so that they differ
		list = append(list, l.Addr().String())
	}
	return list
}

func (s *separate) launch(name string) {
	cmd := exec.Command(filepath.Join(filepath.Dir(program(s.t)), name))
	cmd.Env, cmd.Stderr = append(os.Environ(), s.env[name]...), s.log
	if err := cmd.Start(); err != nil {
		s.t.Errorf("%v: run make services first", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs[name] = cmd
}

// kill kills one part and starts it again.
func (s *separate) kill(name string) {
	s.kills[name]++
	switch name {
	case "postgres":
		s.killPostgres()
		s.startPostgres()
	case "nats":
		s.nats.kill()
		s.startNATS()
	default:
		s.mu.Lock()
		cmd := s.procs[name]
		s.mu.Unlock()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		s.launch(name)
	}
}

func (s *separate) end() {
	for _, d := range slices.Backward(daemons()) {
		if cmd := s.procs[d]; cmd != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	s.nats.kill()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	_ = s.pg.Stop(ctx)
	if s.t.Failed() {
		text, _ := os.ReadFile(s.log.Name())
		s.t.Logf("log:\n%s", text[max(0, len(text)-8000):])
	}
	s.log.Close()
	_ = os.RemoveAll(s.dir)
}

// try makes a request; the status is 0 when there was no answer.
func (s *separate) try(ctx context.Context, token, method, path string, body any) (int, object) {
	text, _ := json.Marshal(body)
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr["gateway"]+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil
	}
	req.Header.Set("x-xsrf-token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	var o object
	all, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(all, &o) != nil {
		return 0, nil
	}
	return resp.StatusCode, o
}

// TestKilledComponents: hosts are made and deleted while every second or two some part of the installation is killed:
// a service, the agent, PostgreSQL, NATS. Accepted requests are completed, and nothing is left over.
func TestKilledComponents(t *testing.T) {
	length, wanted := 60*time.Second, 60
	if long() {
		length, wanted = 10*time.Minute, 1000
	}
	s := newSeparate(t)
	ctx := t.Context()
	var c *fsck.Client
	for deadline := time.Now().Add(healing); ; time.Sleep(100 * time.Millisecond) {
		var err error
		if c, err = fsck.Login(ctx, "http://"+s.addr["gateway"], adminEmail, adminPassword); err == nil {
			if status, o := s.try(ctx, c.Token, "GET", "/vm/v3/os", nil); status == 200 && number(o, "size") == 1 {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	s.network(ctx, c.Token)

	stop := time.Now().Add(length)
	var made, deleted, failed, unheard atomic.Int32
	var mu sync.Mutex
	tasks := map[int]string{} // what was accepted
	accept := func(o object, what string) {
		mu.Lock()
		defer mu.Unlock()
		tasks[number(o, "task")] = what
	}
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Go(func() {
			for i := 0; time.Now().Before(stop) || int(deleted.Load()) < wanted && time.Now().Before(stop.Add(length)); i++ {
				status, o := s.try(ctx, c.Token, "POST", "/vm/v3/host", object{
					"name": fmt.Sprintf("k%d-%d", client, i), "os": 1, "ssh_keys": []string{hostKey}, "ram_mib": 128, "hdd_mib": 64,
				})
				switch {
				case status == 0:
					unheard.Add(1)
					continue
				case status != 200:
					failed.Add(1)
					time.Sleep(20 * time.Millisecond) // clients wait before they repeat
					continue
				}
				made.Add(1)
				accept(o, "create")
				id := number(o, "id")
				for range 50 {
					status, o := s.try(ctx, c.Token, "DELETE", fmt.Sprintf("/vm/v3/host/%d", id), nil)
					if status == 200 {
						accept(o, "delete")
						deleted.Add(1)
					}
					if status == 200 || status == 404 || status == 409 { // a delete that was not heard of is under way, or done
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	victims := append([]string{"postgres", "nats"}, daemons()...)
	for time.Now().Before(stop) {
		rand.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
		for _, part := range victims { // each as often as the others
			time.Sleep(time.Second + rand.N(2*time.Second)) // this is the pace of the faults, nothing is waited for
			s.kill(part)
		}
	}
	wg.Wait()
	r, err := c.Rest(ctx, 2*healing)
	if err != nil || !r.Clean() {
		t.Fatalf("not at rest: %v %+v", err, r)
	}
	kept := &client{s: &stack{t: t, url: c.URL}, token: c.Token}
	for id, what := range tasks {
		end := kept.finish(id, healing)
		// A create that a delete overtook is canceled; none may fail.
		if s := end["status"]; s != "complete" && (what != "create" || s != "canceled") {
			t.Errorf("%s, accepted, is %v", what, end)
		}
	}
	left := kept.must("GET", "/vm/v3/host", nil)
	t.Logf("%d creates and %d deletes accepted, %d refused, %d not heard of, %d hosts left by those; kills %v", made.Load(), deleted.Load(), failed.Load(), unheard.Load(), number(left, "size"), s.kills)
	if n := number(left, "size"); n > int(unheard.Load()) {
		t.Errorf("%d hosts are left, only %d requests were not heard of", n, unheard.Load())
	}
	if total := len(s.kills); int(deleted.Load()) < wanted || total < len(victims) {
		t.Errorf("too little to prove anything: %d deletes of %d wanted, kills %v", deleted.Load(), wanted, s.kills)
	}
}

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

// network makes addresses for the hosts.
func (s *separate) network(ctx context.Context, token string) {
	s.t.Helper()
	must := func(method, path string, body any) object {
		s.t.Helper()
		status, o := s.try(ctx, token, method, path, body)
		if status != 200 {
			s.t.Fatalf("%s %s: %d %v", method, path, status, o)
		}
		return o
	}
	must("POST", "/ip/v3/userspace/public/ipnet", object{"name": "10.9.0.0/20"})
	pool := number(must("POST", "/ip/v3/userspace/public/ippool", object{"name": "p"}), "id")
	must("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), object{"name": "10.9.0.0/20"})
	must("POST", fmt.Sprintf("/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1}}})
}
