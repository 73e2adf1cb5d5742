//go:build e2e

package guest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	diskfs "github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"golang.org/x/crypto/ssh"
)

const mac = "52:54:00:12:34:56"

// template builds the template, unless it is up to date.
var template = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("./build.sh", "out").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build.sh: %w\n%s", err, out)
	}
	return filepath.Abs("out/tiny.qcow2")
})

// vm is a qemu process with an emulated CPU, user networking and the guest's serial console.
type vm struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string
	ssh    string // address on this host that leads to port 22 of the guest
	serial io.Writer
	exited chan error
	begun  time.Time

	mu  sync.Mutex
	log bytes.Buffer
}

// start boots a fresh disk over the template; drives are further qemu arguments. guestIP is the target of the
// forwarded ssh port; qemu cannot detect it, because the guest does not use DHCP.
func start(t *testing.T, guestIP string, args ...string) *vm {
	t.Helper()
	base, err := template()
	if err != nil {
		t.Fatal(err)
	}
	v := &vm{t: t, dir: t.TempDir(), exited: make(chan error, 1)}
	overlay := filepath.Join(v.dir, "disk.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, overlay).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v\n%s", err, out)
	}
	v.ssh = freeAddress(t)
	netdev := fmt.Sprintf("user,id=n0,hostfwd=tcp:%s-%s:22", v.ssh, guestIP)
	// TCG always: a /dev/kvm that exists may still not work.
	v.cmd = exec.Command("qemu-system-x86_64", append([]string{
		"-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "128",
		"-display", "none", "-serial", "stdio", "-no-reboot",
		"-qmp", "unix:" + filepath.Join(v.dir, "qmp") + ",server=on,wait=off",
		"-drive", "file=" + overlay + ",if=virtio",
		"-device", "virtio-serial", "-chardev", "socket,id=agent,path=" + filepath.Join(v.dir, "agent") + ",server=on,wait=off",
		"-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-netdev", netdev, "-device", "virtio-net-pci,netdev=n0,mac=" + mac,
	}, args...)...)
	if v.serial, err = v.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	v.cmd.Stdout, v.cmd.Stderr = v, v
	v.begun = time.Now()
	if err := v.cmd.Start(); err != nil {
		t.Fatalf("%v: install the Debian package qemu-system-x86", err)
	}
	go func() { v.exited <- v.cmd.Wait() }()
	t.Cleanup(func() {
		v.cmd.Process.Kill() // may have ended, as it should
		if t.Failed() {
			t.Logf("console:\n%s", v.console())
		}
	})
	return v
}

// Write takes what qemu prints, which is the serial console.
func (v *vm) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.log.Write(p)
}

func (v *vm) console() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.log.String()
}

// wait returns once the console shows pattern, whose lines end with a plain line feed.
func (v *vm) wait(pattern string) {
	v.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if re.MatchString(strings.ReplaceAll(v.console(), "\r", "")) {
			return
		}
	}
	v.t.Fatalf("the console does not show %q", pattern)
}

func (v *vm) send(line string) {
	v.t.Helper()
	if _, err := io.WriteString(v.serial, line+"\n"); err != nil {
		v.t.Fatal(err)
	}
}

// qmp runs one command of the machine protocol.
func (v *vm) qmp(command string) {
	v.t.Helper()
	c, err := net.Dial("unix", filepath.Join(v.dir, "qmp"))
	if err != nil {
		v.t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil { // greeting
		v.t.Fatal(err)
	}
	for _, line := range []string{`{"execute":"qmp_capabilities"}`, command} {
		fmt.Fprintln(c, line)
		for {
			answer, err := r.ReadBytes('\n')
			if err != nil {
				v.t.Fatal(err)
			}
			var reply struct {
				Event string
				Error any
			}
			if err := json.Unmarshal(answer, &reply); err != nil || reply.Error != nil {
				v.t.Fatalf("%s: %s", line, answer)
			}
			if reply.Event == "" {
				break
			}
		}
	}
}

// agent runs one command of the guest agent, after it has agreed with the agent where answers begin.
func (v *vm) agent(command string) string {
	v.t.Helper()
	c, err := net.Dial("unix", filepath.Join(v.dir, "agent"))
	if err != nil {
		v.t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	fmt.Fprintf(c, "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":77}}\n")
	if _, err := r.ReadString(0xff); err != nil {
		v.t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "{\"return\":77}\n" {
		v.t.Fatalf("sync: %q, %v", line, err)
	}
	fmt.Fprintln(c, command)
	line, err := r.ReadString('\n')
	if err != nil {
		v.t.Fatal(err)
	}
	return line
}

func (v *vm) waitExit(limit time.Duration) {
	v.t.Helper()
	begin := time.Now()
	select {
	case err := <-v.exited:
		if err != nil {
			v.t.Errorf("qemu: %v", err)
		}
		v.t.Logf("ended after %v", time.Since(begin).Round(time.Millisecond))
	case <-time.After(limit):
		v.t.Fatalf("still running after %v", limit)
	}
}

// run logs in as root and returns what command prints.
func (v *vm) run(auth ssh.AuthMethod, command string) (string, error) {
	c, err := ssh.Dial("tcp", v.ssh, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{auth}, Timeout: 20 * time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // generated a moment ago, so there is no known key
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer s.Close()
	out, err := s.CombinedOutput(command)
	return strings.TrimSpace(string(out)), err
}

// isoSeed writes a seed as the node agent does.
func isoSeed(t *testing.T, files map[string]string) (args []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "seed.iso")
	d, err := diskfs.Create(file, 1<<20, diskfs.SectorSizeDefault)
	if err != nil {
		t.Fatal(err)
	}
	d.LogicalBlocksize = 2048
	made, err := d.CreateFilesystem(disk.FilesystemSpec{FSType: filesystem.TypeISO9660, VolumeLabel: "cidata"})
	if err != nil {
		t.Fatal(err)
	}
	iso := made.(*iso9660.FileSystem)
	for name, text := range files {
		f, err := iso.OpenFile(name, os.O_CREATE|os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := iso.Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: "cidata"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return []string{"-drive", "file=" + file + ",if=virtio,readonly=on,format=raw"}
}

// fatSeed writes a seed as people do by hand.
func fatSeed(t *testing.T, files map[string]string) (args []string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "seed.img")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	commands := [][]string{{"mkfs.vfat", "-n", "CIDATA", file}}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), fs.FileMode(0o600)); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, []string{"mcopy", "-i", file, filepath.Join(dir, name), "::"})
	}
	for _, c := range commands {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c[0], err, out)
		}
	}
	return []string{"-drive", "file=" + file + ",if=virtio,readonly=on,format=raw"}
}

// freeAddress returns a free port on a loopback address of this process alone, where no other program asks for a port until
// QEMU listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	pid := os.Getpid()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+pid>>16&63, pid>>8&255, pid&255))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
