package agent_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fetch"
	"slipway.dev/pkg/fetch/cdtest"
	"slipway.dev/services/node/internal/agent"
	"slipway.dev/services/node/internal/journal"
	"slipway.dev/services/node/internal/sim"
)

// files serves images, and what only claims to be one. It says on begun that a download of /hangs began, which goes on when
// released is closed.
func files(t *testing.T) (url string, begun, released chan struct{}) {
	t.Helper()
	begun, released = make(chan struct{}, 1), make(chan struct{})
	mux := http.NewServeMux()
	image := cdtest.Image("hello")
	mux.HandleFunc("/good.iso", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(image) })
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>log in first</html>")) })
	mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "17179869185")
		_, _ = w.Write(image)
	})
	mux.HandleFunc("/hangs", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(image[:100])
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		select {
		case <-released:
			_, _ = w.Write(image[100:])
		case <-r.Context().Done():
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, begun, released
}

// downloading returns an agent that may download from this machine, its driver and journal, and where its downloads lie.
func downloading(t *testing.T) (*agent.Agent, *sim.Driver, *journal.Journal, string) {
	t.Helper()
	driver, err := sim.Open(sim.Config{StackID: "s", NodeID: "n", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	marks, err := journal.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	reach := fetch.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	return agent.New("s", "n", driver, marks, nil, dir, reach), driver, marks, dir
}

// TestFetchCD: an image comes to its machine whole or not at all, and a download that fails leaves nothing.
func TestFetchCD(t *testing.T) {
	t.Parallel()
	url, begun, released := files(t)
	a, driver, marks, dir := downloading(t)
	machine := uuid.New()
	get := func(ctx context.Context, fence int64, name, path string) error {
		_, err := a.FetchCD(ctx, &nodepb.FetchCDRequest{Command: commandFor(machine, fence), Name: name, Url: path})
		return err
	}
	has := func() []string {
		t.Helper()
		list, err := driver.Traces(t.Context())
		if err != nil || len(list) > 1 {
			t.Fatal(list, err)
		}
		if len(list) == 0 {
			return nil
		}
		return list[0].Disks
	}
	for _, tt := range []struct {
		name, path string
		want       error
	}{
		{"iso-1", url + "/page", fetch.ErrFailed},
		{"iso-1", url + "/empty", fetch.ErrFailed},
		{"iso-1", url + "/large", fetch.ErrFailed},
		{"iso-1", url + "/missing", fetch.ErrFailed},
		{"iso-1", "http://169.254.169.254/latest", fetch.ErrReach},
		{"iso-1", "ftp://127.0.0.1/a", fault.Invalid},
		{"../a", url + "/good.iso", fault.Invalid},
	} {
		if err := get(t.Context(), 1, tt.name, tt.path); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.path, err, tt.want)
		}
	}
	if left := has(); left != nil {
		t.Errorf("machine has %v", left)
	}
	for range 2 {
		if err := get(t.Context(), 1, "iso-1", url+"/good.iso"); err != nil {
			t.Error(err)
		}
	}

	// Another command of the machine comes in the middle, and the audit of the node's addresses: neither waits.
	slow := make(chan error, 1)
	go func() { slow <- get(t.Context(), 2, "iso-2", url+"/hangs") }()
	<-begun
	if err := marks.Quiet(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := a.RemoveDisk(t.Context(), &nodepb.RemoveDiskRequest{Command: commandFor(machine, 3), Name: "iso-3"}); err != nil {
		t.Error(err)
	}
	close(released)
	if f, ok := fault.From(<-slow); !ok || f.Reason != "STALE_COMMAND" {
		t.Errorf("the command that was overtaken: %v", f)
	}
	if got := has(); !slices.Equal(got, []string{"iso-1"}) {
		t.Errorf("machine has %v", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v %v", left, err)
	}
}

// TestDownloadsOfOneAccount: images that an account downloads from a server that hangs, more than the node downloads at once, hold
// up no other account's.
func TestDownloadsOfOneAccount(t *testing.T) {
	t.Parallel()
	url, begun, released := files(t)
	a, _, _, _ := downloading(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	get := func(account int32, path string) error {
		_, err := a.FetchCD(ctx, &nodepb.FetchCDRequest{
			Command: commandFor(uuid.New(), 1), Name: "iso-1", Url: url + path, Account: account,
		})
		return err
	}
	const many = 6
	slow := make(chan error, many)
	for range many {
		go func() { slow <- get(7, "/hangs") }()
	}
	for range 2 {
		<-begun
	}
	for _, account := range []int32{8, 0, 9} {
		if err := get(account, "/good.iso"); err != nil {
			t.Fatalf("account %d: %v", account, err)
		}
	}
	select {
	case <-begun:
		t.Error("one account has more than its share")
	default:
	}
	close(released)
	for range many - 2 {
		<-begun
	}
	for range many {
		if err := <-slow; err != nil {
			t.Error(err)
		}
	}
}

// TestFetchEndsWithItsCaller: a download ends when vm does, and leaves nothing.
func TestFetchEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	url, begun, _ := files(t)
	a, _, _, dir := downloading(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := a.FetchCD(ctx, &nodepb.FetchCDRequest{Command: commandFor(uuid.New(), 1), Name: "iso-1", Url: url + "/hangs"})
		ended <- err
	}()
	<-begun
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v %v", left, err)
	}
}
