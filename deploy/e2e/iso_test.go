//go:build e2e && !remote

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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
	c.complete(c.must("DELETE", path, nil))
	s.noTrace()
}
