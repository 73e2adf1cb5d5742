package hostile

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestRepeatsOverCutConnections makes 200 hosts, each by ten requests with one key over connections most of which are cut:
// at any byte of the request, before the answer, or within it.
func TestRepeatsOverCutConnections(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.addresses()
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	const keys, repeats = 200, 10
	var answers sync.Map
	var all sync.WaitGroup
	abreast := make(chan struct{}, 24)
	for k := range keys {
		random := rand.New(rand.NewPCG(uint64(k), 1))
		for n := range repeats {
			cut := 0 // not at all
			if n < repeats-1 {
				cut = 1 + random.IntN(3)
			}
			at := random.Float64()
			abreast <- struct{}{}
			all.Go(func() {
				defer func() { <-abreast }()
				id := s.createOver(server.Listener.Addr().String(), k, cut, at)
				if id == 0 {
					return
				}
				if first, seen := answers.LoadOrStore(k, id); seen && first != id {
					t.Errorf("key %d was answered with host %v and host %d", k, first, id)
				}
			})
		}
	}
	all.Wait()
	answered := 0
	answers.Range(func(any, any) bool { answered++; return true })
	if answered != keys {
		t.Errorf("%d of %d keys were answered", answered, keys)
	}
	var hosts, told, addresses, left int
	row := s.pools["vm"].QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM host), (SELECT count(*) FROM outbox WHERE subject = 'vm.v3.host.created'),
		       (SELECT count(*) FROM host_address), (SELECT count(*) FROM idem WHERE answer IS NULL)`)
	s.must(row.Scan(&hosts, &told, &addresses, &left))
	if hosts != keys || told != keys || addresses != keys || left != 0 {
		t.Errorf("%d hosts, %d events, %d addresses for %d keys; %d requests never ended", hosts, told, addresses, keys, left)
	}
}

// createOver sends a create with the key k over a connection of its own. The host's id is 0 when there was no answer to read.
func (s *world) createOver(addr string, k, cut int, at float64) int {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		s.Error(err)
		return 0
	}
	defer conn.Close()
	s.must(conn.SetDeadline(time.Now().Add(time.Minute)))
	body := fmt.Sprintf(`{"name":"host%d","os":1,"password":"secret","hdd_mib":1,"ram_mib":16}`, k)
	text := "POST /vm/v3/host HTTP/1.1\r\nHost: panel.test\r\nConnection: close\r\nX-Xsrf-Token: " + s.admin.token +
		"\r\nIdempotency-Key: order " + strconv.Itoa(k) + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	if cut == 1 {
		text = text[:int(at*float64(len(text)))]
	}
	if _, err := io.WriteString(conn, text); err != nil {
		s.Error(err)
		return 0
	}
	switch cut {
	case 1, 2:
		return 0
	case 3: // somewhere in the middle of the work, which a look at the tasks takes about as long as
		for range int(at * 8) {
			s.admin.send("GET", "/vm/v3/task", "")
		}
		return 0
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		s.Error(err)
		return 0
	}
	head, answer, _ := strings.Cut(string(raw), "\r\n\r\n")
	var id, task int
	if _, err := fmt.Sscanf(answer, `{"id":%d,"task":%d`, &id, &task); err != nil || !strings.HasPrefix(head, "HTTP/1.1 "+strconv.Itoa(http.StatusOK)) {
		s.Errorf("key %d: %s %s", k, head, answer)
	}
	return id
}
