package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"slipway.dev/deploy/guest/seed"
)

func setupLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// setupLinks configures every link as far as possible and reports the errors.
func setupLinks(links []seed.Link) {
	renameLinks(links)
	for _, l := range links {
		dev, err := findLink(l)
		if err != nil {
			must("network", err)
			continue
		}
		name := dev.Attrs().Name
		for _, err := range setupLink(dev, l) {
			must("network "+name, err)
		}
	}
}

// renameLinks renames links by way of unused names, so that two links can swap theirs.
func renameLinks(links []seed.Link) {
	type rename struct {
		dev  netlink.Link
		name string
	}
	var todo []rename
	for i, l := range links {
		dev, err := findLink(l)
		if err != nil || l.SetName == "" || l.SetName == dev.Attrs().Name {
			continue // setupLinks reports the missing link
		}
		must("network", netlink.LinkSetName(dev, fmt.Sprintf("slip%d", i)))
		todo = append(todo, rename{dev, l.SetName})
	}
	for _, r := range todo {
		must("network set-name "+r.name, netlink.LinkSetName(r.dev, r.name))
	}
}

func findLink(l seed.Link) (netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	for _, dev := range all {
		a := dev.Attrs()
		if a.Flags&net.FlagLoopback != 0 {
			continue
		}
		if l.MAC != nil && bytes.Equal(a.HardwareAddr, l.MAC) ||
			l.MAC == nil && (a.Name == l.Name || l.SetName != "" && a.Name == l.SetName) {
			return dev, nil
		}
	}
	if l.MAC != nil {
		return nil, fmt.Errorf("no interface with MAC address %s", l.MAC)
	}
	return nil, fmt.Errorf("no interface %s", l.Name)
}

func setupLink(dev netlink.Link, l seed.Link) (errs []error) {
	step := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	if l.MTU != 0 {
		step("mtu", netlink.LinkSetMTU(dev, l.MTU))
	}
	ra := "0" // a neighbour must not be able to give routes to a guest whose network is fixed
	if l.AcceptRA {
		ra = "1"
	}
	sysctl := "/proc/sys/net/ipv6/conf/" + dev.Attrs().Name + "/accept_ra"
	if err := os.WriteFile(sysctl, []byte(ra), 0o644); !errors.Is(err, os.ErrNotExist) { // no IPv6, nothing to do
		step("accept-ra", err)
	}
	// IPv4 before up: the kernel then announces the addresses (arp_notify), for one of them may have
	// belonged to another machine a minute ago.
	for _, up := range []bool{false, true} {
		if up {
			step("up", netlink.LinkSetUp(dev))
		}
		for _, p := range l.Addresses {
			if p.Addr().Is6() != up {
				continue
			}
			a := &netlink.Addr{IPNet: ipNet(p.Addr().AsSlice(), p.Bits())}
			if up {
				a.Flags = unix.IFA_F_NODAD // addresses are given out by the control plane: no second of waiting
			}
			step("address "+p.String(), netlink.AddrReplace(dev, a))
		}
	}
	for _, r := range l.Routes {
		route := &netlink.Route{
			LinkIndex: dev.Attrs().Index,
			Dst:       ipNet(r.To.Addr().AsSlice(), r.To.Bits()),
			Gw:        r.Via.AsSlice(),
			Priority:  r.Metric,
		}
		if r.OnLink {
			route.Flags = int(netlink.FLAG_ONLINK)
		}
		step("route to "+r.To.String(), netlink.RouteAdd(route))
	}
	return errs
}

func ipNet(ip net.IP, bits int) *net.IPNet {
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, len(ip)*8)}
}

// firstAddress returns the address of the ready line: the first global IPv4 address, else IPv6, else "-".
func firstAddress() string {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		addrs, err := netlink.AddrList(nil, family)
		if err != nil {
			continue
		}
		for _, a := range addrs { // in the order of the interfaces
			if a.IP.IsGlobalUnicast() {
				return a.IP.String()
			}
		}
	}
	return "-"
}
