//go:build e2e && !remote

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"slipway.dev/pkg/fetch/cdtest"
)

// mirror lets a node download from this machine.
const mirror = "SLIPWAY_NODE_FETCH_NETWORKS=127.0.0.0/8"

// cd serves the image of a CD that writes the text to the console of a machine, and returns its address.
func cd(t *testing.T, text string) string {
	t.Helper()
	image := cdtest.Image(text)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(image) }))
	t.Cleanup(s.Close)
	return s.URL + "/boot.iso"
}

// TestISO: a machine starts from a CD that its node downloads, and from its disks again.
func TestISO(t *testing.T) {
	s := newStack(t, "libvirt", mirror)
	c := s.login()
	made := c.must("POST", "/vm/v3/host", object{"name": "disc", "os": c.tiny(), "password": "x", "ram_mib": 256})
	c.complete(made)
	id := number(made, "id")
	path := fmt.Sprintf("/vm/v3/host/%d", id)
	c.console(id, "slipway-guest ready disc")
	c.complete(c.must("POST", path+"/iso/mount", object{"url": cd(t, "this machine started from a CD")}))
	c.console(id, "this machine started from a CD")
	if h := c.host(id); h["iso_mounted"] != true || h["state"] != "active" {
		t.Errorf("host %v", h)
	}
	c.complete(c.must("POST", path+"/stop", object{"force": true})) // the program on the CD does not hear of ACPI
	c.complete(c.must("POST", path+"/iso/finish", nil))
	c.complete(c.must("POST", path+"/start", nil))
	if h := c.host(id); h["iso_mounted"] != false {
		t.Errorf("host %v", h)
	}
	twice := c.console(id, "slipway-guest ready disc")
	for end := time.Now().Add(time.Minute); strings.Count(twice, "slipway-guest ready disc") < 2; twice = c.console(id, "slipway-guest ready disc") {
		if time.Now().After(end) {
			t.Fatalf("the host does not start from its disks again:\n%s", twice)
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.upload(c, path, id)
	c.complete(c.must("DELETE", path, nil))
	s.noTrace()
}

// uploadBar is how much more memory the whole stack may hold for an image of 3 GiB than for one of 256 MiB. The process collects
// garbage when it has five times what is live, so that each live piece counts five times.
const uploadBar = 128 << 20

// upload uploads an image of 3 GiB, from which the machine starts then, and looks at the memory of the stack. What is no image is
// refused, whatever its size, and leaves nothing.
func (s *stack) upload(c *client, path string, id int) {
	s.t.Helper()
	for _, size := range []int64{0, 6, 256 << 20} {
		if status, o := c.do("POST", path+"/iso/upload", io.LimitReader(zeros{}, size)); status != 400 {
			s.t.Errorf("%d zeros in place of an image: %d %v", size, status, o)
		}
	}
	image := cdtest.Image("this machine started from an uploaded CD")
	before := s.peak()
	whole := io.MultiReader(bytes.NewReader(image), io.LimitReader(zeros{}, 3<<30-int64(len(image))))
	op := c.must("POST", path+"/iso/upload", whole)
	if more := s.peak() - before; more > uploadBar {
		s.t.Errorf("the upload took %d MiB", more>>20)
	} else {
		s.t.Logf("the upload took %d MiB", more>>20)
	}
	c.complete(op)
	c.console(id, "this machine started from an uploaded CD")
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// peak returns the most memory that the process has held, in bytes.
func (s *stack) peak() (most int64) {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &most); err == nil {
			return most << 10
		}
	}
	s.t.Fatal("no VmHWM")
	return 0
}
