package bridge

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"slipway.dev/services/node/internal/hyper"
)

// link finds or makes the bridge, and reports whether it made it. Its MAC is fixed by its name: left alone it would
// change with the ports.
func (b *Bridges) link(n hyper.Network) (link netlink.Link, made bool, err error) {
	link, err = netlink.LinkByName(n.Name)
	if gone(err) {
		sum := sha256.Sum256([]byte(b.tag + n.Name))
		br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
		br.Name, br.MTU = n.Name, n.MTU
		br.HardwareAddr = net.HardwareAddr{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}
		if err = netlink.LinkAdd(br); err != nil && !errors.Is(err, syscall.EEXIST) {
			return nil, false, err
		}
		if made = err == nil; made {
			if err := netlink.LinkSetAlias(br, b.tag); err != nil {
				_ = netlink.LinkDel(br)
				return nil, false, err
			}
		}
		link, err = netlink.LinkByName(n.Name)
	}
	if err != nil {
		return nil, false, err
	}
	if link.Type() != "bridge" {
		return nil, false, hyper.ErrNoNetwork.With("%s is not a bridge", n.Name)
	}
	if n.MTU != 0 && link.Attrs().MTU != n.MTU && b.ours(link) {
		return link, made, netlink.LinkSetMTU(link, n.MTU)
	}
	return link, made, nil
}

// ours marks a bridge that this stack made.
func (b *Bridges) ours(l netlink.Link) bool { return l.Attrs().Alias == b.tag }

// addresses gives the link the wanted addresses, and with exact no others, and reports whether one was missing.
func addresses(link netlink.Link, want []netip.Prefix, exact bool) (added bool, err error) {
	present, err := addressesOf(link)
	if err != nil {
		return false, err
	}
	for _, p := range want {
		if slices.Contains(present, p) {
			continue
		}
		if err := netlink.AddrReplace(link, address(p)); err != nil {
			return added, err
		}
		added = true
	}
	if !exact {
		return added, nil
	}
	for _, p := range present {
		if slices.Contains(want, p) || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := netlink.AddrDel(link, address(p)); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return added, err
		}
		// The kernel removes the other addresses of a prefix with the first one.
		if _, err := addresses(link, want, false); err != nil {
			return added, err
		}
	}
	return added, nil
}

func addressesOf(link netlink.Link) (list []netip.Prefix, err error) {
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	for _, a := range have {
		list = append(list, prefix(a.IPNet))
	}
	return list, err
}

func address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = syscall.IFA_F_NODAD // a gateway is there at once
	}
	return a
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
