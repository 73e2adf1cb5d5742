// Package bridge makes the host's side of the guests' networks: bridges by netlink; translation, forwarding and
// anti-spoofing by nftables, in tables of the stack's own. Rules and bridges of others stay unchanged.
package bridge

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/hyper"
)

// Bridges are the networks of one stack on this host.
type Bridges struct {
	tag   string // of the stack
	table string
	dir   string

	mu    sync.Mutex
	nets  map[string]hyper.Network // what was asked for, kept in dir
	ruled map[string]bool          // whose rules this process has set
}

// Open reads the requested networks from root/networks. It changes nothing.
func Open(root, stackID string) (*Bridges, error) {
	b := &Bridges{
		tag: "slipway " + hyper.Tag(stackID), table: hyper.NFTable(stackID),
		dir: filepath.Join(root, "networks"), nets: map[string]hyper.Network{}, ruled: map[string]bool{},
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make network directory: %w", err)
	}
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".json") {
			continue
		}
		var n hyper.Network
		raw, err := os.ReadFile(filepath.Join(b.dir, f.Name()))
		if err == nil {
			err = json.Unmarshal(raw, &n)
		}
		if err == nil {
			err = n.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("read network %s: %w", f.Name(), err)
		}
		b.nets[n.Name] = n
	}
	return b, nil
}

// Ensure makes the bridge exist and be up, with the addresses and those that were asked for before but no others, and its
// packets be forwarded and translated. Ensure uses a bridge that another program made as it is: it adds missing
// addresses and takes nothing away. What has not changed since this process set the rules costs a look at the bridge.
func (b *Bridges) Ensure(n hyper.Network) error {
	if err := n.Check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n = b.nets[n.Name].And(n)
	link, err := b.link(n)
	if err != nil {
		return explain("make bridge "+n.Name, err)
	}
	if err := addresses(link, n.Addresses, b.ours(link)); err != nil {
		return explain("set addresses of "+n.Name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return explain("set up "+n.Name, err)
	}
	if b.ruled[n.Name] && n.Equal(b.nets[n.Name]) {
		return nil
	}
	if err := forwarding(n); err != nil {
		return explain("enable forwarding", err)
	}
	if err := b.save(n); err != nil {
		return err
	}
	b.nets[n.Name] = n
	if err := b.applyRules(); err != nil {
		return explain("set rules", err)
	}
	b.ruled[n.Name] = true
	return nil
}

// Remove deletes the bridge. A bridge that another program made only loses our rules.
func (b *Bridges) Remove(name string) error {
	if err := (hyper.Network{Name: name}).Check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.remove(name)
}

func (b *Bridges) remove(name string) error {
	link, err := netlink.LinkByName(name)
	switch {
	case gone(err):
	case err != nil:
		return explain("find bridge "+name, err)
	case b.ours(link):
		ports, err := portsOf(link)
		if err != nil {
			return explain("list ports of "+name, err)
		}
		if len(ports) > 0 {
			return hyper.ErrNetworkInUse.With("%d ports are plugged into %s", len(ports), name)
		}
		if err := netlink.LinkDel(link); err != nil && !gone(err) {
			return explain("remove bridge "+name, err)
		}
	}
	if _, known := b.nets[name]; !known {
		return nil
	}
	if err := os.Remove(filepath.Join(b.dir, name+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget network: %w", err)
	}
	delete(b.nets, name)
	delete(b.ruled, name)
	return explain("set rules", b.applyRules())
}

// Check returns an error if a machine cannot be plugged into the bridge.
func (b *Bridges) Check(name string) error {
	link, err := netlink.LinkByName(name)
	if gone(err) {
		return hyper.ErrNoNetwork.With("bridge %s is not there", name)
	}
	if err != nil {
		return explain("find bridge "+name, err)
	}
	if link.Type() != "bridge" {
		return hyper.ErrNoNetwork.With("%s is not a bridge", name)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return hyper.ErrNoNetwork.With("bridge %s is down", name)
	}
	return nil
}

// Close removes our bridges that have no ports.
func (b *Bridges) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, n := range b.sorted() {
		if err := b.remove(n.Name); err != nil && !errors.Is(err, hyper.ErrNetworkInUse) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, explain("remove rules", b.dropIdleGuard()))...)
}

func (b *Bridges) sorted() []hyper.Network {
	out := make([]hyper.Network, 0, len(b.nets))
	for _, n := range b.nets {
		out = append(out, n)
	}
	slices.SortFunc(out, func(x, y hyper.Network) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// link finds or makes the bridge. Its MAC is fixed by its name: left alone it would change with the ports.
func (b *Bridges) link(n hyper.Network) (netlink.Link, error) {
	link, err := netlink.LinkByName(n.Name)
	if gone(err) {
		sum := sha256.Sum256([]byte(b.tag + n.Name))
		br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
		br.Name, br.MTU = n.Name, n.MTU
		br.HardwareAddr = net.HardwareAddr{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}
		if err = netlink.LinkAdd(br); err != nil && !errors.Is(err, syscall.EEXIST) {
			return nil, err
		}
		if err == nil {
			if err := netlink.LinkSetAlias(br, b.tag); err != nil {
				_ = netlink.LinkDel(br)
				return nil, err
			}
		}
		link, err = netlink.LinkByName(n.Name)
	}
	if err != nil {
		return nil, err
	}
	if link.Type() != "bridge" {
		return nil, hyper.ErrNoNetwork.With("%s is not a bridge", n.Name)
	}
	if n.MTU != 0 && link.Attrs().MTU != n.MTU && b.ours(link) {
		return link, netlink.LinkSetMTU(link, n.MTU)
	}
	return link, nil
}

// ours marks a bridge that this stack made.
func (b *Bridges) ours(l netlink.Link) bool { return l.Attrs().Alias == b.tag }

func addresses(link netlink.Link, want []netip.Prefix, exact bool) error {
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	present := map[netip.Prefix]bool{}
	for _, a := range have {
		p := prefix(a.IPNet)
		if present[p] = true; exact && !slices.Contains(want, p) && !p.Addr().IsLinkLocalUnicast() {
			if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
				return err
			}
		}
	}
	for _, p := range want {
		if present[p] {
			continue
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			a.Flags = syscall.IFA_F_NODAD // a gateway is there at once
		}
		if err := netlink.AddrReplace(link, a); err != nil {
			return err
		}
	}
	return nil
}

func prefix(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones)
}

// portsOf lists the ports of a bridge.
func portsOf(br netlink.Link) ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range links {
		if l.Attrs().MasterIndex == br.Attrs().Index {
			out = append(out, l.Attrs().Name)
		}
	}
	return out, nil
}

func (b *Bridges) save(n hyper.Network) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := durable.Replace(filepath.Join(b.dir, n.Name+".json"), raw, 0o600); err != nil {
		return fmt.Errorf("keep network: %w", err)
	}
	return nil
}

func gone(err error) bool {
	_, missing := errors.AsType[netlink.LinkNotFoundError](err)
	return missing || errors.Is(err, syscall.ENODEV)
}

// explain converts a refusal by the kernel into a fault that says what to do.
func explain(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return hyper.ErrNotAllowed.With("networks need CAP_NET_ADMIN: run the agent as root").Wrap(fmt.Errorf("%s: %w", what, err))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Allowed returns hyper.ErrNotAllowed if this process may not make bridges, so that it can fail at its start.
func Allowed() error {
	const netAdmin = 1 << unix.CAP_NET_ADMIN
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	if data[0].Effective&netAdmin == 0 {
		return explain("make bridges", syscall.EPERM)
	}
	return nil
}
