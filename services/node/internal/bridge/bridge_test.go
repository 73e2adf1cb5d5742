package bridge_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"

	"slipway.dev/services/node/internal/bridge"
	"slipway.dev/services/node/internal/hyper"
)

// TestMain runs the tests in a network namespace of their own: the machine's network is not touched, and no root is
// needed where user namespaces are allowed.
func TestMain(m *testing.M) {
	if os.Getenv("SLIPWAY_IN_NETNS") != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), "SLIPWAY_IN_NETNS=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{Size: 1, HostID: os.Getuid()}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{Size: 1, HostID: os.Getgid()}}
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "in a network namespace:", err)
		os.Exit(1)
	}
}

func open(t *testing.T, root, stack string) *bridge.Bridges {
	t.Helper()
	b, err := bridge.Open(root, stack)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addrs(t *testing.T, name string) []string {
	t.Helper()
	link, err := netlink.LinkByName(name)
	ok(t, err)
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	ok(t, err)
	var out []string
	for _, a := range list {
		if !a.IP.IsLinkLocalUnicast() {
			out = append(out, a.IPNet.String())
		}
	}
	slices.Sort(out)
	return out
}

func exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// rules counts the rules of a chain, -1 when it is not there.
func rules(t *testing.T, family nftables.TableFamily, table, chain string) int {
	t.Helper()
	c, err := nftables.New()
	ok(t, err)
	tab := &nftables.Table{Family: family, Name: table}
	if _, err := c.ListChain(tab, chain); err != nil {
		return -1
	}
	list, err := c.GetRules(tab, &nftables.Chain{Table: tab, Name: chain})
	ok(t, err)
	return len(list)
}

func TestEnsure(t *testing.T) {
	root, table := t.TempDir(), hyper.NFTable("a")
	b := open(t, root, "a")
	n := hyper.Network{
		Name:      hyper.BridgeName("a", 1),
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")},
		NAT:       []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")},
		MTU:       1400,
	}
	for range 2 {
		ok(t, b.Ensure(n))
	}
	ok(t, b.Check(n.Name))
	link, err := netlink.LinkByName(n.Name)
	ok(t, err)
	if a := link.Attrs(); a.MTU != 1400 || a.Flags&net.FlagUp == 0 || a.HardwareAddr[0] != 2 {
		t.Errorf("bridge %+v", a)
	}
	if diff := cmp.Diff([]string{"192.0.2.1/24", "2001:db8::1/64"}, addrs(t, n.Name)); diff != "" {
		t.Error(diff)
	}
	if f, p := rules(t, nftables.TableFamilyINet, table, "forward"), rules(t, nftables.TableFamilyINet, table, "postrouting"); f != 2 || p != 2 {
		t.Errorf("%d forward and %d postrouting rules", f, p)
	}
	for _, f := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if have, err := os.ReadFile("/proc/sys/net/" + f); err != nil || strings.TrimSpace(string(have)) != "1" {
			t.Errorf("%s is %q %v", f, have, err)
		}
	}

	// What no machine needs goes with the next request.
	stray, err := netlink.ParseAddr("203.0.113.1/24")
	ok(t, err)
	ok(t, netlink.AddrAdd(link, stray))
	n.Addresses, n.NAT = []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}, nil
	ok(t, open(t, root, "a").Ensure(n))
	if diff := cmp.Diff([]string{"198.51.100.1/24"}, addrs(t, n.Name)); diff != "" {
		t.Error(diff)
	}
	if p := rules(t, nftables.TableFamilyINet, table, "postrouting"); p != 0 {
		t.Errorf("%d postrouting rules", p)
	}

	other := open(t, t.TempDir(), "b") // another stack side by side
	m := hyper.Network{Name: hyper.BridgeName("b", 1)}
	ok(t, other.Ensure(m))
	ok(t, open(t, root, "a").Remove(n.Name)) // a restarted agent knows what it made
	if exists(n.Name) || rules(t, nftables.TableFamilyINet, table, "forward") != -1 {
		t.Error("left behind")
	}
	if !exists(m.Name) || rules(t, nftables.TableFamilyINet, hyper.NFTable("b"), "forward") != 2 {
		t.Error("the other stack lost its network")
	}
}

func TestInUse(t *testing.T) {
	root := t.TempDir()
	b := open(t, root, "u")
	n := hyper.Network{Name: hyper.BridgeName("u", 1)}
	ok(t, b.Ensure(n))
	port := plug(t, "tport", n.Name)
	if err := b.Remove(n.Name); !errors.Is(err, hyper.ErrNetworkInUse) {
		t.Errorf("remove: %v", err)
	}
	ok(t, b.Close())
	if !exists(n.Name) {
		t.Fatal("closed, and a bridge in use is gone")
	}
	ok(t, netlink.LinkDel(port))
	ok(t, open(t, root, "u").Close())
	if exists(n.Name) {
		t.Error("closed, and an idle bridge is still there")
	}
}

func TestForeignBridge(t *testing.T) {
	la := netlink.NewLinkAttrs()
	la.Name = "br0"
	ok(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: la}))
	link, err := netlink.LinkByName("br0")
	ok(t, err)
	defer func() { ok(t, netlink.LinkDel(link)) }()
	ok(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 51, 100, 1), Mask: net.CIDRMask(24, 32)}}))
	b := open(t, t.TempDir(), "f")
	ok(t, b.Ensure(hyper.Network{Name: "br0"}))
	ok(t, b.Remove("br0"))
	if diff := cmp.Diff([]string{"198.51.100.1/24"}, addrs(t, "br0")); diff != "" {
		t.Errorf("somebody else's bridge was changed: %s", diff)
	}
	if err := b.Ensure(hyper.Network{Name: "lo"}); !errors.Is(err, hyper.ErrNoNetwork) {
		t.Errorf("lo: %v", err)
	}
	if err := b.Check("nothing"); !errors.Is(err, hyper.ErrNoNetwork) {
		t.Errorf("nothing: %v", err)
	}
}

// plug makes a port of the bridge whose other end is <name>x.
func plug(t *testing.T, name, br string) netlink.Link {
	t.Helper()
	la := netlink.NewLinkAttrs()
	la.Name = name
	master, err := netlink.LinkByName(br)
	ok(t, err)
	la.MasterIndex = master.Attrs().Index
	ok(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: name + "x"}))
	// The far end has nothing of its own to say.
	ok(t, os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"x/disable_ipv6", []byte("1"), 0))
	for _, n := range []string{name, name + "x"} {
		l, err := netlink.LinkByName(n)
		ok(t, err)
		ok(t, netlink.LinkSetUp(l))
	}
	port, err := netlink.LinkByName(name)
	ok(t, err)
	return port
}

func TestGuard(t *testing.T) {
	b := open(t, t.TempDir(), "g")
	n := hyper.Network{Name: hyper.BridgeName("g", 1)}
	ok(t, b.Ensure(n))
	mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	ip, ip6 := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")
	nic := hyper.NIC{MAC: mac, Network: n.Name, Addresses: []netip.Addr{ip, ip6}, AntiSpoofing: true}
	for range 2 {
		ok(t, b.Guard("tguard", nic)) // before the tap is there
		ok(t, b.Guard("tother", nic))
	}
	port := plug(t, "tguard", n.Name)
	plug(t, "tother", n.Name)
	defer func() {
		_ = netlink.LinkDel(port)
		if l, err := netlink.LinkByName("tother"); err == nil {
			_ = netlink.LinkDel(l)
		}
	}()

	countPassing(t, "tguard")
	victim, evil := netip.MustParseAddr("192.0.2.66"), net.HardwareAddr{0x52, 0x54, 0, 0, 0, 9}
	victim6, local := netip.MustParseAddr("2001:db8::66"), netip.MustParseAddr("fe80::5054:ff:fe00:1")
	theirs, router, none := netip.MustParseAddr("fe80::5054:ff:fe00:9"), netip.MustParseAddr("fe80::1"), netip.IPv6Unspecified()
	six := func(src netip.Addr, proto byte, body []byte) []byte {
		return ether(mac, 0x86dd, ipv6(src, proto, body))
	}
	badARP := arp(mac, victim)
	badARP[4] = 8 // addresses stand elsewhere
	for _, tt := range []struct {
		name  string
		frame []byte
		drop  bool
	}{
		{"own IPv4", ether(mac, 0x0800, ipv4(ip, 6, nil)), false},
		{"own IPv6", ether(mac, 0x86dd, ipv6(ip6, 6, nil)), false},
		{"own link-local", ether(mac, 0x86dd, ipv6(local, 6, nil)), false},
		{"duplicate address detection", ether(mac, 0x86dd, ipv6(netip.IPv6Unspecified(), 58, icmp(135, ip6))), false},
		{"own ARP", ether(mac, 0x0806, arp(mac, ip)), false},
		{"own advertisement", ether(mac, 0x86dd, ipv6(ip6, 58, icmp(136, ip6))), false},
		{"DHCP client", ether(mac, 0x0800, ipv4(ip, 17, udp(68, 67))), false},
		{"DHCPv6 client", six(local, 17, udp(546, 547)), false},
		{"own link-local advertisement", six(local, 58, icmp(136, local)), false},
		{"own solicitation", six(local, 58, icmp(135, victim6)), false},
		{"router solicitation", six(local, 58, icmp(133, none)), false},
		{"duplicate address detection, link-local", six(none, 58, icmp(135, local)), false},
		{"membership report behind options", six(none, 0, hop(58, icmp(143, none))), false},
		{"first fragment of UDP", six(ip6, 44, fragment(17, 0, udp(999, 99))), false},
		{"later fragment of UDP", six(ip6, 44, fragment(17, 8, udp(999, 99))), false},
		{"fragment of a long ping", six(ip6, 44, fragment(58, 0, icmp(128, none))), false},
		{"another's MAC", ether(evil, 0x0800, ipv4(ip, 6, nil)), true},
		{"another's IPv4", ether(mac, 0x0800, ipv4(victim, 6, nil)), true},
		{"another's IPv6", ether(mac, 0x86dd, ipv6(victim6, 6, nil)), true},
		{"ARP for another", ether(mac, 0x0806, arp(mac, victim)), true},
		{"ARP with another's MAC", ether(mac, 0x0806, arp(evil, ip)), true},
		{"advertisement for another", ether(mac, 0x86dd, ipv6(local, 58, icmp(136, victim6))), true},
		{"router advertisement", ether(mac, 0x86dd, ipv6(local, 58, icmp(134, ip6))), true},
		{"redirect", six(local, 58, icmp(137, ip6)), true},
		{"redirect behind options", six(local, 0, hop(58, icmp(137, ip6))), true},
		{"redirect behind more options", six(local, 0, hop(60, hop(58, icmp(137, ip6)))), true},
		{"another's link-local", six(theirs, 6, nil), true},
		{"the router's link-local", six(router, 6, nil), true},
		{"advertisement for another's link-local", six(local, 58, icmp(136, theirs)), true},
		{"advertisement for the router", six(local, 58, icmp(136, router)), true},
		{"solicitation from another's link-local", six(theirs, 58, icmp(135, ip6)), true},
		{"detection of another's address", six(none, 58, icmp(135, victim6)), true},
		{"detection of another's link-local", six(none, 58, icmp(135, theirs)), true},
		{"UDP without an address", six(none, 17, udp(999, 99)), true},
		{"fragmented advertisement", six(local, 44, fragment(58, 0, icmp(136, ip6))), true},
		{"first part of an advertisement", six(local, 44, fragment(58, 0, icmp(136, ip6)[:8])), true},
		{"fragmented router advertisement", six(local, 44, fragment(58, 0, icmp(134, ip6))), true},
		{"fragmented redirect behind options", six(local, 0, hop(44, fragment(58, 0, icmp(137, ip6)))), true},
		{"headers that go on in a later fragment", six(local, 44, fragment(60, 0, hop(58, nil))), true},
		{"a later fragment of further headers", six(local, 44, fragment(60, 8, icmp(134, ip6))), true},
		{"a fragment in a fragment", six(local, 44, fragment(44, 0, fragment(58, 0, icmp(134, ip6)))), true},
		{"ARP of another form", ether(mac, 0x0806, badARP), true},
		{"DHCP server", ether(mac, 0x0800, ipv4(ip, 17, udp(67, 68))), true},
		{"DHCP server from another port", ether(mac, 0x0800, ipv4(ip, 17, udp(999, 68))), true},
		{"DHCP relay", ether(mac, 0x0800, ipv4(ip, 17, udp(67, 67))), true},
		{"DHCPv6 server", six(local, 17, udp(547, 546)), true},
		{"DHCPv6 server from another port", six(local, 17, udp(999, 546)), true},
		{"DHCPv6 server behind options", six(local, 60, hop(17, udp(547, 546))), true},
		{"VLAN", ether(mac, 0x8100, ipv4(ip, 6, nil)), true},
		{"spanning tree", ether(mac, 0x0027, make([]byte, 46)), true},
	} {
		ok(t, b.Guard("tguard", nic)) // zeroes the counters
		send := func() { inject(t, "tguardx", tt.frame) }
		if got := drops(t, hyper.NFTable("g"), "tguard", send); got != tt.drop {
			t.Errorf("%s: dropped: %v, want %v", tt.name, got, tt.drop)
		}
	}
	for range 2 {
		ok(t, b.Unguard("tguard"))
	}
	if r := rules(t, nftables.TableFamilyBridge, hyper.NFTable("g"), "tguard"); r != -1 {
		t.Errorf("%d rules left", r)
	}
	if r := rules(t, nftables.TableFamilyBridge, hyper.NFTable("g"), "tother"); r < 5 {
		t.Errorf("the other's rules are gone too: %d", r)
	}
	ok(t, b.Unguard("never-there"))
	ok(t, b.Unguard("tother"))
	ok(t, b.Close())
	if r := rules(t, nftables.TableFamilyBridge, hyper.NFTable("g"), "guard"); r != -1 {
		t.Error("an idle guard is left")
	}
}

// drops sends a frame of ether until the rules of the tap have judged it, and reports whether they drop it. A port that has
// just come up takes no frame yet, and the kernel may handle a frame after the call that sends it has returned.
func drops(t *testing.T, table, tap string, send func()) bool {
	t.Helper()
	before := counted(t, passed, tap)
	for range 20 {
		send()
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if counted(t, table, tap) > 0 {
				return true
			}
			if counted(t, passed, tap) > before {
				return false
			}
		}
	}
	t.Fatal("no frame was judged")
	return false
}

// passed is a table with a chain for each tap that countPassing was called for.
const passed = "passed"

// countPassing counts the frames of ether from the tap that the guard lets pass.
func countPassing(t *testing.T, tap string) {
	t.Helper()
	c, err := nftables.New()
	ok(t, err)
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyBridge, Name: passed})
	chain := c.AddChain(&nftables.Chain{
		Name: tap, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityFilter,
	})
	from := make([]byte, syscall.IFNAMSIZ)
	copy(from, tap)
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: from},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Len: uint32(len(sink))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: sink},
		&expr.Counter{},
	}})
	ok(t, c.Flush())
}

// counted sums the counters of a chain.
func counted(t *testing.T, table, chain string) int {
	t.Helper()
	c, err := nftables.New()
	ok(t, err)
	tab := &nftables.Table{Family: nftables.TableFamilyBridge, Name: table}
	list, err := c.GetRules(tab, &nftables.Chain{Table: tab, Name: chain})
	ok(t, err)
	var n uint64
	for _, r := range list {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				n += c.Packets
			}
		}
	}
	return int(n)
}

func inject(t *testing.T, dev string, frame []byte) {
	t.Helper()
	l, err := netlink.LinkByName(dev)
	ok(t, err)
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0)
	ok(t, err)
	defer syscall.Close(fd)
	ok(t, syscall.Sendto(fd, frame, 0, &syscall.SockaddrLinklayer{Ifindex: l.Attrs().Index}))
}

// sink is the receiver of the frames of ether.
var sink = net.HardwareAddr{0x02, 0, 0, 0, 0, 0xff}

func ether(src net.HardwareAddr, kind uint16, body []byte) []byte {
	b := slices.Concat(sink, src)
	return append(binary.BigEndian.AppendUint16(b, kind), append(body, make([]byte, max(0, 46-len(body)))...)...)
}

func ipv4(src netip.Addr, proto byte, body []byte) []byte {
	b := make([]byte, 20)
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
	copy(b[12:], src.AsSlice())
	copy(b[16:], []byte{192, 0, 2, 1})
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	return append(b, body...)
}

func ipv6(src netip.Addr, proto byte, body []byte) []byte {
	b := make([]byte, 40)
	b[0], b[6], b[7] = 0x60, proto, 255
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	copy(b[8:], src.AsSlice())
	copy(b[24:], netip.MustParseAddr("2001:db8::1").AsSlice())
	return append(b, body...)
}

func icmp(kind byte, target netip.Addr) []byte {
	return append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
}

func udp(from, to uint16) []byte {
	return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to), 0, 8, 0, 0)
}

// hop is a header with options that do nothing, of eight bytes.
func hop(next byte, body []byte) []byte { return append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, body...) }

// fragment is a fragment header; more fragments follow.
func fragment(next byte, offset uint16, body []byte) []byte {
	return append(append([]byte{next, 0}, byte(offset>>8), byte(offset)|1, 0, 0, 0, 7), body...)
}

func arp(mac net.HardwareAddr, ip netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	b = append(append(b, mac...), ip.AsSlice()...)
	return append(b, 2, 0, 0, 0, 0, 0xff, 192, 0, 2, 1)
}
