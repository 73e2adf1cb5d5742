//go:build e2e && !remote

package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway.dev/deploy/fsck"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/pg/pgembed"
)

// long reports whether this is make chaos, which does everything many times.
func long() bool { return os.Getenv("SLIPWAY_CHAOS") != "" }

var only = flag.String("points", "", "kill only at crash points that begin so")

// healing is how long after the restart everything must be at rest.
const healing = 60 * time.Second

// scenario is a request in which a point is reached.
type scenario struct {
	name   string
	points []string // prefixes
	fail   string   // the point that fails, so that what was done is taken back
	// State of the host that is there before, which may be "rescued" or "mounted", or "loose" for a disk beside the host, or
	// "attached" for a second disk of the host; "" for none.
	state  string
	method string
	path   string // after /vm/v3/host, with %d for the host, {ip} for its address and {loose} for the disk beside it
	url    string // another one than that of hosts, with {disk} for the host's disk and {loose}
	body   object // a url in it is that of a CD
}

// scenarios: the first whose prefix fits reaches the point.
var scenarios = []scenario{
	{name: "undone create", points: []string{
		"job.host_create.address.undo", "job.host_create.disk.undo", "job.host_create.failed",
	}, fail: "job.host_create.start.after", method: "POST"},
	{name: "failed start", points: []string{"job.host_start.failed"}, fail: "job.host_start.start.after", state: "stopped", method: "POST", path: "/%d/start"},
	{name: "failed stop", points: []string{"job.host_stop.failed"}, fail: "job.host_stop.stop.after", state: "active", method: "POST", path: "/%d/stop", body: object{"force": true}},
	{name: "failed restart", points: []string{"job.host_restart.failed"}, fail: "job.host_restart.start.after", state: "active", method: "POST", path: "/%d/restart", body: object{"force": true}},
	{name: "addresses taken back", points: []string{
		"job.ip_change.address.undo", "job.ip_change.seed.undo", "job.ip_change.define.undo", "job.ip_change.failed",
	}, fail: "job.ip_change.define.after", state: "active", method: "POST", path: "/%d/ip", body: object{"ipv4_number": 1}},
	{name: "address kept", points: []string{
		"job.ip_delete.address.undo", "job.ip_delete.seed.undo", "job.ip_delete.define.undo", "job.ip_delete.failed",
	}, fail: "job.ip_delete.define.after", state: "active", method: "DELETE", path: "/%d/ip/{ip}?force=true"},
	{name: "reinstallation taken back", points: []string{
		"job.host_reinstall.disk.undo", "job.host_reinstall.stop.undo", "job.host_reinstall.seed.undo", "job.host_reinstall.define.undo",
		"job.host_reinstall.start.undo", "job.host_reinstall.failed",
	}, fail: "job.host_reinstall.start.after", state: "active", method: "POST", path: "/%d/reinstall", body: object{"os": 1}},
	{name: "reinstallation", points: []string{"job.host_reinstall", "job.disk_free", "vm.reinstall", "node.disk-remove"}, state: "active", method: "POST", path: "/%d/reinstall", body: object{"os": 1, "password": "another"}},
	{name: "password taken back", points: []string{"job.host_password.seed.undo", "job.host_password.failed"}, fail: "job.host_password.agent.after", state: "active", method: "POST", path: "/%d/password", body: object{"password": "another"}},
	{name: "password", points: []string{"job.host_password", "vm.guest", "node.password"}, state: "active", method: "POST", path: "/%d/password", body: object{"password": "another"}},
	{name: "guest agent", points: []string{"job.host_guest_agent"}, state: "active", method: "POST", path: "/%d/guest_agent", body: object{}},
	{name: "rescue taken back", points: []string{
		"job.host_rescue.disk.undo", "job.host_rescue.stop.undo", "job.host_rescue.seed.undo", "job.host_rescue.define.undo",
		"job.host_rescue.start.undo", "job.host_rescue.failed",
	}, fail: "job.host_rescue.start.after", state: "active", method: "POST", path: "/%d/rescue_mode", body: object{"rescue_mode": true}},
	{name: "rescue end taken back", points: []string{
		"job.host_rescue_end.stop.undo", "job.host_rescue_end.seed.undo", "job.host_rescue_end.define.undo", "job.host_rescue_end.start.undo",
		"job.host_rescue_end.failed",
	}, fail: "job.host_rescue_end.start.after", state: "rescued", method: "POST", path: "/%d/rescue_mode", body: object{"rescue_mode": false}},
	{name: "rescue end", points: []string{"job.host_rescue_end"}, state: "rescued", method: "POST", path: "/%d/rescue_mode", body: object{"rescue_mode": false}},
	{name: "rescue", points: []string{"job.host_rescue.", "vm.rescue"}, state: "active", method: "POST", path: "/%d/rescue_mode", body: object{"rescue_mode": true}},
	{name: "image not mounted", points: []string{
		"job.host_iso_mount.download.undo", "job.host_iso_mount.stop.undo", "job.host_iso_mount.seed.undo",
		"job.host_iso_mount.define.undo", "job.host_iso_mount.start.undo", "job.host_iso_mount.failed",
	}, fail: "job.host_iso_mount.start.after", state: "active", method: "POST", path: "/%d/iso/mount", body: object{"url": ""}},
	{name: "image mounted", points: []string{"job.host_iso_mount", "vm.iso", "node.cd"}, state: "active", method: "POST", path: "/%d/iso/mount", body: object{"url": ""}},
	{name: "image not finished", points: []string{
		"job.host_iso_finish.stop.undo", "job.host_iso_finish.seed.undo", "job.host_iso_finish.define.undo", "job.host_iso_finish.start.undo",
		"job.host_iso_finish.failed",
	}, fail: "job.host_iso_finish.start.after", state: "mounted", method: "POST", path: "/%d/iso/finish", body: object{}},
	{name: "image finished", points: []string{"job.host_iso_finish"}, state: "mounted", method: "POST", path: "/%d/iso/finish", body: object{}},
	{name: "address named", points: []string{"job.ptr_change", "vm.ptr"}, state: "active", method: "POST", path: "/%d/ptr/{ip}", body: object{"domain": "killed.example.com"}},
	{name: "owner", points: []string{"job.host_account", "vm.owner"}, state: "active", method: "POST", path: "/%d/account", body: object{"account": 1}},
	{name: "more addresses", points: []string{"job.ip_change"}, state: "active", method: "POST", path: "/%d/ip", body: object{"ipv4_number": 1}},
	{name: "address removed", points: []string{"job.ip_delete", "job.ip_free"}, state: "active", method: "DELETE", path: "/%d/ip/{ip}?force=true"},
	{name: "delete", points: []string{"job.host_delete", "vm.delete", "ip.release", "node.remove", "node.libvirt.undefined"}, state: "active", method: "DELETE", path: "/%d"},
	{name: "start", points: []string{"job.host_start", "vm.power"}, state: "stopped", method: "POST", path: "/%d/start"},
	{name: "stop", points: []string{"job.host_stop", "node.stop"}, state: "active", method: "POST", path: "/%d/stop", body: object{"force": true}},
	{name: "restart", points: []string{"job.host_restart"}, state: "active", method: "POST", path: "/%d/restart", body: object{"force": true}},
	{name: "failed change of resources", points: []string{"job.host_change_params.machine.undo", "job.host_change_params.failed"}, fail: "job.host_change_params.machine.after", state: "active", method: "POST", path: "/%d/resource", body: object{"ram_mib": 384, "net_in_mbitps": 50}},
	{name: "change of resources", points: []string{"job.host_change_params", "vm.resource", "node.adapt"}, state: "active", method: "POST", path: "/%d/resource", body: object{"ram_mib": 384}},
	{name: "disk not enlarged", points: []string{"job.disk_resize.failed"}, fail: "job.disk_resize.disk.after", state: "active", method: "POST", url: "/vm/v3/disk/{disk}", body: object{"size_mib": 4096}},
	{name: "disk enlarged", points: []string{"job.disk_resize", "vm.volume"}, state: "active", method: "POST", url: "/vm/v3/disk/{disk}", body: object{"size_mib": 4096}},
	{name: "disk not made", points: []string{"job.disk_create.disk.undo", "job.disk_create.failed"}, fail: "job.disk_create.disk.after", state: "active", method: "POST", url: "/vm/v3/disk", body: object{"name": "data", "size_mib": 64, "node": 1}},
	{name: "disk made", points: []string{"job.disk_create"}, state: "active", method: "POST", url: "/vm/v3/disk", body: object{"name": "data", "size_mib": 64, "node": 1}},
	{name: "disk deleted", points: []string{"job.disk_delete"}, state: "loose", method: "DELETE", url: "/vm/v3/disk/{loose}"},
	{name: "disk not attached", points: []string{
		"job.disk_attach.move.undo", "job.disk_attach.machine.undo", "job.disk_attach.failed",
	}, fail: "job.disk_attach.machine.after", state: "loose", method: "POST", path: "/%d/disk/{loose}", body: object{}},
	{name: "disk attached", points: []string{"job.disk_attach", "vm.attach", "node.disk-move"}, state: "loose", method: "POST", path: "/%d/disk/{loose}", body: object{"is_main": true}},
	{name: "disk not detached", points: []string{
		"job.disk_detach.machine.undo", "job.disk_detach.move.undo", "job.disk_detach.failed",
	}, fail: "job.disk_detach.move.after", state: "attached", method: "DELETE", path: "/%d/disk/{loose}"},
	{name: "disk detached", points: []string{"job.disk_detach"}, state: "attached", method: "DELETE", path: "/%d/disk/{loose}"},
	{name: "disks not in order", points: []string{"job.disk_order.machine.undo", "job.disk_order.failed"}, fail: "job.disk_order.machine.after", state: "attached", method: "POST", path: "/%d/disk/{loose}", body: object{"is_main": true}},
	{name: "disks in order", points: []string{"job.disk_order"}, state: "attached", method: "POST", path: "/%d/disk/{loose}", body: object{"is_main": true}},
	{name: "account", points: []string{"inbox."}, method: "POST", url: "/auth/v4/user"},
	{name: "create", points: []string{"job.host_create", "job.claim", "vm.create", "ip.", "node.", "outbox."}, method: "POST"},
}

// elsewhere are points that no request of a host reaches, with the tests that reach them.
var elsewhere = map[string]string{
	"job.os_import.":         "the kind that downloads: pkg/jobs kills at every point of its own kinds, which run the same code",
	"job.disk_delete.failed": "a node refuses the removal: services/vm, TestDiskThatCannotBeDeleted",
	"job.machine_reap.":      "nobody asks for it: services/vm, TestLeftoverIsRemoved, and pkg/jobs as above",
}

func (sc scenario) reaches(point string) bool {
	for _, p := range sc.points {
		if strings.HasPrefix(point, p) {
			return true
		}
	}
	return false
}

// TestCrashPoints kills slipway at every crash point and starts it again: within a minute records agree with reality,
// and every answered request is kept.
func TestCrashPoints(t *testing.T) {
	sim, libvirt := 1, 1
	if long() {
		sim, libvirt = 25, 2
	}
	t.Run("sim", func(t *testing.T) { crashPoints(t, "sim", sim, []string{"node.libvirt.", "node.file."}) })
	t.Run("libvirt", func(t *testing.T) {
		skip := []string{"node.sim.", "node.password"} // a guest's agent answers only when the guest has booted
		if !long() {                                   // the others differ from sim in nothing but time
			skip = append(skip, "job.", "vm.", "ip.", "outbox.", "node.journal", "node.stop", "node.seed")
		}
		crashPoints(t, "libvirt", libvirt, skip)
	})
}

func crashPoints(t *testing.T, hypervisor string, rounds int, skip []string) {
	out, err := exec.Command(program(t), "crashpoints").Output()
	if err != nil {
		t.Fatal(err)
	}
	// Thousands of rounds give back more addresses than five minutes of quarantine leave, and take longer than a token lives.
	s := newStack(t, hypervisor, "SLIPWAY_POSTGRES_URL="+postgres(t), "SLIPWAY_VM_WATCH_EVERY=300ms",
		"SLIPWAY_IP_QUARANTINE=2s", "SLIPWAY_AUTH_TOKEN_TTL=24h", mirror)
	k := &killer{stack: s, client: s.login(), env: s.env, cd: cd(t, "killed"), when: filepath.Join(filepath.Dir(s.data), "now")}
	k.os = k.client.tiny()
	killed := 0
	for point := range strings.FieldsSeq(string(out)) {
		if hasPrefix(point, skip) || proven(point) || !strings.HasPrefix(point, *only) {
			continue
		}
		sc, ok := find(point)
		if !ok {
			t.Errorf("no scenario reaches %s: write one", point)
			continue
		}
		for round := range rounds {
			k.round(sc, point, round)
			killed++
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("killed %d times", killed)
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func proven(point string) bool {
	for p := range elsewhere {
		if strings.HasPrefix(point, p) {
			return true
		}
	}
	return false
}

func find(point string) (scenario, bool) {
	for _, sc := range scenarios {
		if sc.reaches(point) {
			return sc, true
		}
	}
	return scenario{}, false
}

// postgres is a database that outlives the slipway that is killed: a round takes half the time then.
func postgres(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "slipway-pg-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	db, err := pgembed.Start(t.Context(), pgembed.Config{Dir: filepath.Join(dir, "postgres"), Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Stop(t.Context()); err != nil {
			_ = db.Stop(t.Context()) // the context of a test that ended is over: it was stopped hard
		}
		_ = os.RemoveAll(dir)
	})
	return db.URL()
}

// killer goes through rounds on one stack.
type killer struct {
	*stack
	client *client
	env    []string // of the stack when nothing is armed
	when   string   // the file that lets a point kill
	cd     string   // the address of an image
	os     int
	n      int
}

// round kills the stack at a point and checks how it recovers.
func (k *killer) round(sc scenario, point string, round int) {
	k.t.Helper()
	k.n++
	name := fmt.Sprintf("p%d", k.n)
	host := 0
	if sc.state != "" {
		made := k.client.must("POST", "/vm/v3/host", k.body(name))
		k.client.complete(made)
		host = number(made, "id")
		if sc.state == "stopped" {
			k.client.complete(k.client.must("POST", fmt.Sprintf("/vm/v3/host/%d/stop", host), object{"force": true}))
		}
	}
	if sc.state == "rescued" {
		k.client.complete(k.client.must("POST", fmt.Sprintf("/vm/v3/host/%d/rescue_mode", host), object{"rescue_mode": true}))
	}
	if sc.state == "mounted" {
		k.client.complete(k.client.must("POST", fmt.Sprintf("/vm/v3/host/%d/iso/mount", host), object{"url": k.cd}))
	}
	loose := 0
	if sc.state == "loose" || sc.state == "attached" {
		made := k.client.must("POST", "/vm/v3/disk", object{"name": "data", "size_mib": 64, "node": 1})
		k.client.complete(made)
		loose = number(made, "id")
	}
	if sc.state == "attached" {
		k.client.complete(k.client.must("POST", fmt.Sprintf("/vm/v3/host/%d/disk/%d", host, loose), object{}))
	}
	k.stop()
	k.stack.env = append(append([]string{}, k.env...), crash.Env+"="+point, crash.EnvWhen+"="+k.when, crash.EnvFail+"="+sc.fail)
	k.start()
	if err := os.WriteFile(k.when, nil, 0o644); err != nil {
		k.t.Fatal(err)
	}
	path, body := "/vm/v3/host", sc.body
	if strings.Contains(sc.url, "{disk}") {
		disk := k.client.list(fmt.Sprintf("/vm/v3/disk?where=host+EQ+%d", host))[0]
		path = strings.ReplaceAll(sc.url, "{disk}", fmt.Sprint(number(disk, "id")))
	} else if sc.url == "/auth/v4/user" {
		path, body = sc.url, object{"email": name + "@example.com", "password": "e2e-Password-2", "role": "@user"}
	} else if sc.url != "" {
		path = sc.url
	} else if sc.path != "" {
		path += fmt.Sprintf(sc.path, host)
		if strings.Contains(path, "{ip}") {
			ip := k.client.list(fmt.Sprintf("/vm/v3/host/%d/ipv4", host))[0]
			path = strings.ReplaceAll(path, "{ip}", fmt.Sprint(number(ip, "id")))
		}
	} else {
		body = k.body(name)
	}
	path = strings.ReplaceAll(path, "{loose}", fmt.Sprint(loose))
	if _, named := body["url"]; named {
		body = object{"url": k.cd}
	}
	answer := k.ask(sc.method, path, body)
	select {
	case <-k.exited:
	case <-time.After(30 * time.Second):
		k.t.Fatalf("%s: %s was never reached: %v", sc.name, point, answer)
	}
	if err := os.Remove(k.when); err != nil {
		k.t.Fatal(err)
	}
	k.stack.env = k.env
	k.start()
	c := &fsck.Client{URL: k.url, Token: k.client.token}
	if r, err := c.Rest(k.t.Context(), healing); err != nil || !r.Clean() {
		k.t.Fatalf("%s, killed at %s, round %d: %v %+v", sc.name, point, round, err, r)
	}
	k.check(sc, point, name, host, answer)
}

func (k *killer) body(name string) object {
	return object{"name": name, "os": k.os, "password": "x", "ram_mib": 128}
}

// ask makes a request whose answer may never come; nil then.
func (k *killer) ask(method, path string, body object) object {
	k.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		k.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, bytes.NewReader(text))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("x-xsrf-token", k.client.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var o object
	if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
		return nil
	}
	return o
}

// check looks whether the host became what was asked for, and removes it. Without an answer it may be either.
func (k *killer) check(sc scenario, point, name string, host int, answer object) {
	k.t.Helper()
	c := k.client
	status := ""
	if task := number(answer, "task"); task != 0 {
		status, _ = c.finish(task, healing)["status"].(string)
	}
	list := c.must("GET", "/vm/v3/host?where=name+EQ+'"+name+"'", nil)["list"].([]any)
	gone := sc.method == "DELETE" && sc.path == "/%d" && status == "complete" || sc.state == "" && status == "failed"
	if len(list) > 1 || gone && len(list) > 0 || status == "complete" && !gone && len(list) == 0 {
		k.t.Errorf("%s, killed at %s: the task is %q and the hosts are %v", sc.name, point, status, list)
	}
	if sc.fail == "" && status != "" && status != "complete" {
		k.t.Errorf("%s, killed at %s: the task is %q", sc.name, point, status)
	}
	for _, item := range list {
		h := item.(object)
		if host != 0 && number(h, "id") != host {
			k.t.Errorf("%s, killed at %s: another host %v", sc.name, point, h)
		}
		if !k.settled(number(h, "id"), sc.name+", killed at "+point) {
			deleted := sc.method == "DELETE" && sc.path == "/%d"
			if !deleted && (sc.fail == "" || sc.state != "") {
				k.t.Errorf("%s, killed at %s: the host is gone", sc.name, point)
			}
			continue // the delete, or the undo of the create, whose answer was not heard is through by now
		}
		c.complete(c.must("DELETE", fmt.Sprintf("/vm/v3/host/%d", number(h, "id")), nil))
	}
}

// settled waits until the state of a host is known again: after a task that failed it is what the next look at the node
// says. It returns false when the host is gone.
func (k *killer) settled(host int, what string) bool {
	k.t.Helper()
	for deadline := time.Now().Add(healing); ; time.Sleep(50 * time.Millisecond) {
		status, h := k.client.do("GET", fmt.Sprintf("/vm/v3/host/%d", host), nil)
		if s := h["state"]; status == http.StatusNotFound || s == "active" || s == "stopped" {
			return status != http.StatusNotFound
		}
		if time.Now().After(deadline) {
			k.t.Fatalf("%s: %v", what, h)
		}
	}
}
