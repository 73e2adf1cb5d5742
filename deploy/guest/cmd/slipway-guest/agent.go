package main

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"slipway.dev/deploy/guest/agent"
	"slipway.dev/deploy/guest/seed"
)

// agentPort is the name of the virtio port on which hosts expect the agent.
const agentPort = "org.qemu.guest_agent.0"

// startAgent leaves the guest agent to a process of its own. A machine without the port has none.
func startAgent() error {
	if findPort() == "" {
		return nil
	}
	cmd := exec.Command("/proc/self/exe", "agent")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// findPort returns the device of the agent's port.
func findPort() string {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, file := range names {
		text, err := os.ReadFile(file)
		if err == nil && strings.TrimSpace(string(text)) == agentPort {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(file)))
		}
	}
	return ""
}

// runAgent serves the port for ever. The port ends whenever nothing listens on the host.
func runAgent() {
	for {
		port, err := os.OpenFile(findPort(), os.O_RDWR, 0)
		if err != nil {
			must("agent", err)
			return
		}
		err = agent.Serve(patient{port}, guest{})
		port.Close()
		must("agent", err)
		time.Sleep(time.Second)
	}
}

// patient is a port that waits where it would end.
type patient struct{ *os.File }

func (p patient) Read(b []byte) (int, error) {
	for {
		n, err := p.File.Read(b)
		if n > 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// guest is this guest.
type guest struct{}

func (guest) SetPassword(user, password string, crypted bool) (err error) {
	switch {
	case user != "root":
		return errors.New("root is the only user")
	case crypted && !seed.IsHash(password):
		return errors.New("not a crypt hash")
	case !crypted:
		if password, err = hashPassword(password); err != nil {
			return errors.New("cannot be hashed")
		}
	}
	return setHash(password)
}

func (guest) Interfaces() ([]agent.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	list := []agent.Interface{}
	for _, i := range all {
		x := agent.Interface{Name: i.Name, MAC: i.HardwareAddr.String(), Addresses: []agent.Address{}}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok {
				bits, _ := p.Mask.Size()
				kind := "ipv6"
				if p.IP.To4() != nil {
					kind = "ipv4"
				}
				x.Addresses = append(x.Addresses, agent.Address{Type: kind, IP: p.IP.String(), Prefix: bits})
			}
		}
		list = append(list, x)
	}
	return list, nil
}
