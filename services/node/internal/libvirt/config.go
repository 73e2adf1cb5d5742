// Package libvirt runs machines with qemu through libvirt: a libvirtd where one answers, else libvirt inside this
// process (qemu:///embed), whose machines outlive the process and are found again by the next.
//
// The driver itself needs cgo and -tags libvirt_dlopen, and loads libvirt.so at run time; rendering, files and
// configuration are plain Go.
package libvirt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/template"
)

// Config of the driver.
type Config struct {
	// Root is the absolute path of machines/<uuid>, templates, networks and libvirt's own files. An embedded libvirt uses a short
	// link to a root longer than MaxRoot, because the paths of its sockets must be short.
	Root    string
	StackID string
	NodeID  string
	// URI of libvirt; empty is qemu:///system if a libvirtd answers, else qemu:///embed. The first choice is stored in Root,
	// because the machines of one are unknown to the other.
	URI string
	// Accel is auto (also empty), kvm or tcg.
	Accel string
	// Templates to start disks from; nil opens those of Root.
	Templates *template.Store
	// NoNetworks leaves bridges and nftables alone: for tests without privileges.
	NoNetworks bool
	// MakeUser creates the system user libvirt-qemu when it is missing, as Debian's libvirt-daemon-system does. The
	// embedded libvirt of Debian cannot start without it.
	MakeUser bool
	Log      *slog.Logger
}

// MaxRoot is the longest root for an embedded libvirt: a socket's path is at most 107 bytes, and libvirt appends
// /libvirt/lib/qemu/domain-<number>-<20 bytes of the name>/monitor.sock.
const MaxRoot = 107 - len("/libvirt/lib/qemu/domain-999999-") - 20 - len("/monitor.sock")

const (
	uriSystem = "qemu:///system"
	uriTest   = "test:///default"
	qemuUser  = "libvirt-qemu"
	runDir    = "/run"
)

func (c *Config) check() error {
	switch {
	case c.StackID == "":
		return errors.New("libvirt: a stack id is required")
	case !filepath.IsAbs(c.Root) || filepath.Clean(c.Root) != c.Root:
		return fmt.Errorf("libvirt: root %q is not a clean absolute path", c.Root)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// embedURI is where libvirt keeps its own files when it is embedded.
func (c *Config) embedURI() string {
	if len(c.Root) > MaxRoot {
		return "qemu:///embed?root=" + c.shortcut()
	}
	return "qemu:///embed?root=" + c.libvirtDir()
}

// shortcut is the short link to a root with a long name. A reboot removes it, and the next start makes it again.
func (c *Config) shortcut() string { return filepath.Join(runDir, "slipway-"+hyper.Tag(c.StackID)) }

// unlink removes the shortcut. Running machines do not need it; the next start makes it again.
func (c *Config) unlink() error {
	if len(c.Root) <= MaxRoot {
		return nil
	}
	if err := os.Remove(c.shortcut()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// link makes the shortcut if it is missing.
func (c *Config) link() error {
	if len(c.Root) <= MaxRoot {
		return nil
	}
	err := os.Symlink(c.libvirtDir(), c.shortcut())
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	to, err := os.Readlink(c.shortcut())
	if err == nil && to != c.libvirtDir() {
		err = hyper.ErrForeign.With("%s leads to %s", c.shortcut(), to)
	}
	return err
}

// agentSocket returns the short name of the socket of a machine's guest agent, which lies in the machine's directory. A
// libvirtd has short names of its own.
func (c *Config) agentSocket(machine uuid.UUID, uri string) string {
	if !embedded(uri) {
		return ""
	}
	return c.socket(machine, "agent")
}

// socket returns the short name of a socket in the machine's directory.
func (c *Config) socket(machine uuid.UUID, name string) string {
	root := c.Root
	if len(root) > MaxRoot {
		root = c.shortcut() + "/.." // the parent of what the link leads to
	}
	return root + "/machines/" + machine.String() + "/" + name
}

func (c *Config) libvirtDir() string { return filepath.Join(c.Root, "libvirt") }

func embedded(uri string) bool { return strings.HasPrefix(uri, "qemu:///embed") }

// claim ties the root to this stack and node permanently: an agent with another identity would take the machines for leftovers.
func (c *Config) claim() error {
	type identity struct {
		StackID string `json:"stack_id"`
		NodeID  string `json:"node_id"`
	}
	var have identity
	want := identity{c.StackID, c.NodeID}
	switch err := c.load("identity.json", &have); {
	case errors.Is(err, fs.ErrNotExist):
		return c.keep("identity.json", want)
	case err != nil:
		return err
	case have != want:
		return hyper.ErrForeign.With("the directory belongs to node %q of stack %q", have.NodeID, have.StackID)
	}
	return nil
}

func (c *Config) load(name string, v any) error {
	b, err := os.ReadFile(filepath.Join(c.Root, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func (c *Config) keep(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := durable.Replace(filepath.Join(c.Root, name), b, 0o600); err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return nil
}
