package host

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/sshline"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/tag"
)

// Limits of one host. Sources: the dialect's hot-resize limits for CPUs, KVM's practice for the rest.
const (
	maxCPUs     = 240
	maxRAMMiB   = 16 << 20
	maxPassword = 128
	maxKeys     = 32
)

// createSpec is what a request asks a new host to be. Zero numbers mean "not given".
type createSpec struct {
	Name, Comment, Domain  string
	Password               string
	Cluster, Node, Account int32
	OS, Image, Preset      int32
	CPUs, RAM              int32
	Disks                  []disk.Disk
	HDD                    int32            // the size of the boot disk, in another field than Disks
	Storages               map[string]int32 // that the request names, by field
	IPv4Number             int32
	AnyNumber              int32 // addresses of the family of their pool or network
	IPv4Given              bool  // the request has IPv4Number
	IPv4Pools              []int32
	Address                string // a certain one; "" is any
	Network                int32  // the addresses' network; 0 is any
	FromWhere              bool   // a pool or a network is named for one address
	PoolOfOne              bool   // IPv4Pools is that pool alone
	IPv6                   bool
	IPv6Pools              []int32 // empty: IPv4Pools
	IPv6Prefix             int32   // of the network of the IPv6 address; 0 is any
	Interfaces             []card
	MAC                    net.HardwareAddr // nil: made from the UUID
	byCard                 bool             // Interfaces names address or pool
	Balancer               string
	AntiSpoofing           bool
	SSHKeys                []string
	Tags                   []string
	Limits                 machine.Limits
}

// check refuses a host that no installation could make, and names the field at fault.
func (s *createSpec) check() error {
	if err := checkName(s.Name); err != nil {
		return err
	}
	if err := checkComment(s.Comment); err != nil {
		return err
	}
	if s.Domain != "" {
		var err error
		if s.Domain, err = ParseDomain(s.Domain); err != nil {
			return err
		}
	}
	switch {
	case s.Image != 0:
		return fault.Invalid.With("there is no image %d", s.Image).On("image")
	case s.Preset != 0:
		return fault.Invalid.With("there is no preset %d", s.Preset).On("preset")
	case s.OS == 0:
		return fault.Invalid.With("required, the id of an OS template of GET /vm/v3/os").On("os")
	case s.Password == "" && len(s.SSHKeys) == 0:
		return fault.Invalid.With("required").On("password")
	}
	if err := CheckPassword(s.Password); err != nil {
		return err
	}
	if _, err := balanced(s.Balancer); err != nil {
		return err
	}
	var err error
	if s.Tags, err = tag.Sorted(s.Tags); err != nil {
		return err
	}
	if err := s.takeInterface(); err != nil {
		return err
	}
	if !s.IPv4Given && s.FromWhere && s.Address == "" { // the pool or network says of which family the address is
		s.IPv4Number, s.AnyNumber = 0, 1
	}
	if err := s.checkSize(); err != nil {
		return err
	}
	if err := s.checkAddresses(); err != nil {
		return s.blame(err)
	}
	return s.checkKeys()
}

// CheckPassword refuses a password that a guest would not take.
func CheckPassword(password string) error {
	if utf8.RuneCountInString(password) > maxPassword || strings.ContainsAny(password, "\x00\r\n") {
		return fault.Invalid.With("at most %d characters in one line", maxPassword).On("password")
	}
	return nil
}

// balanced reads what a request says of balancers: "on", which is the default, or "off".
func balanced(mode string) (bool, error) {
	switch mode {
	case "", balancerOn:
		return true, nil
	case balancerOff:
		return false, nil
	default:
		return false, fault.Invalid.With("%.60q is neither %s nor %s", mode, balancerOn, balancerOff).On("balancer_mode")
	}
}

// checkAddresses refuses a claim that cannot be given, rather than give less than was asked. A wished address counts as
// one of its family.
func (s *createSpec) checkAddresses() error {
	if s.Address != "" {
		if _, err := netip.ParseAddr(s.Address); err != nil {
			return fault.Invalid.With("%.60q is not an address", s.Address).On("ip_addr")
		}
	}
	if err := address.CheckIPv6(s.IPv6, s.IPv6Pools, s.IPv6Prefix); err != nil {
		return err
	}
	four, six := address.Asked(s.claims())
	if four+six == 0 && s.FromWhere {
		return fault.Invalid.With("0, but the request says where an address is to come from").On("ipv4_number")
	}
	return address.CheckCount(int(four+six), "ipv4_number")
}

// claims returns what the host asks of ip.
func (s *createSpec) claims() []address.Claim {
	r := &ippb.ReserveRequest{PoolIds: s.IPv4Pools, Ipv4Count: s.IPv4Number, AnyCount: s.AnyNumber, Wish: s.Address, NetworkId: s.Network}
	if s.IPv6 {
		r.Ipv6Count = 1
	}
	by := address.Asker{One: "ip_addr", Pools: "ipv4_pool"}
	if s.PoolOfOne {
		by.Pools = "ip_addr"
	}
	return address.Claim{ReserveRequest: r, By: by}.Split(s.IPv6Pools)
}

func (s *createSpec) checkSize() error {
	if err := CheckSize(machine.Size{CPUs: s.CPUs, RAM: s.RAM}); err != nil {
		return err
	}
	if err := s.Limits.Check(); err != nil {
		return err
	}
	if err := between("ipv4_number", s.IPv4Number, 0, address.Max); err != nil {
		return err
	}
	if err := disk.Check(s.Disks); err != nil {
		return err
	}
	if err := disk.Arrange(s.Disks); err != nil {
		return err
	}
	return s.takeHDD()
}

// checkStorages refuses every storage but that of the host's cluster.
func (s *createSpec) checkStorages(ofCluster int32) error {
	for _, field := range slices.Sorted(maps.Keys(s.Storages)) {
		if id := s.Storages[field]; id != 0 && id != ofCluster {
			return fault.Invalid.With("there is no storage %d in the cluster", id).On(field)
		}
	}
	return nil
}

// takeHDD takes over the size of the boot disk, which the disks may name too.
func (s *createSpec) takeHDD() error {
	switch {
	case s.HDD == 0:
		return nil
	case len(s.Disks) == 0:
		s.Disks = []disk.Disk{{SizeMiB: s.HDD}}
		return disk.Check(s.Disks)
	case s.Disks[0].SizeMiB != s.HDD:
		return fault.Invalid.With("%d, but the boot disk in disks has %d", s.HDD, s.Disks[0].SizeMiB).On("hdd_mib")
	default:
		return nil
	}
}

func between(field string, n, least, most int32) error {
	if n < least || n > most {
		return fault.Invalid.With("%d is not between %d and %d", n, max(least, 1), most).On(field)
	}
	return nil
}

func (s *createSpec) checkKeys() error {
	if len(s.SSHKeys) > maxKeys {
		return fault.Invalid.With("at most %d", maxKeys).On("ssh_keys")
	}
	for i, text := range s.SSHKeys {
		key, _, err := sshline.Parse(text)
		if err != nil {
			return fault.Invalid.With("number %d: %s", i+1, err).On("ssh_keys")
		}
		s.SSHKeys[i] = sshline.Format(key, "")
	}
	return nil
}

// addKeys adds the keys of the account, without their comments: an old comment that the agent would refuse must not
// keep a machine from being made. A key that is there already counts once.
func (s *createSpec) addKeys(ofAccount []string) error {
	for _, line := range ofAccount {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			continue // no key that a guest could use
		}
		if text := sshline.Format(key, ""); !slices.Contains(s.SSHKeys, text) {
			s.SSHKeys = append(s.SSHKeys, text)
		}
	}
	if len(s.SSHKeys) > sshline.Max {
		return fault.Invalid.With("at most %d, with those of the account", sshline.Max).On("ssh_keys")
	}
	return nil
}

// fill completes the spec with what does not depend on its node.
func (s *createSpec) fill() (err error) {
	if s.CPUs == 0 {
		s.CPUs = 1
	}
	s.Disks, err = disk.Fill(s.Disks)
	return err
}

// want returns what the host asks of its node.
func (s *createSpec) want() node.Want {
	w := node.Want{CPUs: s.CPUs, RAM: s.RAM, Boot: s.Disks[0].SizeMiB, More: disk.Total(s.Disks[1:]), Features: []string{}}
	for _, n := range s.Limits.Needs() {
		w.Features = append(w.Features, n.Feature)
	}
	return w
}

// unable returns err as the caller understands it: what no node can do is asked for by a field.
func (s *createSpec) unable(err error) error {
	lacks, is := errors.AsType[*node.LacksError](err)
	if !is {
		return err
	}
	for _, n := range s.Limits.Needs() {
		if n.Feature == lacks.Feature {
			return fault.Invalid.With("no node in service can do that").On(n.Field)
		}
	}
	return err
}

// on returns the spec as it is on a node: the host begins as the node's version of the OS, and gets what that needs.
func (s createSpec) on(p node.Place) *createSpec {
	s.RAM, s.Disks = p.RAM, slices.Clone(s.Disks)
	s.Disks[0].SizeMiB, s.Disks[0].Template = p.Boot, p.Template
	return &s
}

// size returns the room that the host needs on a node.
func (s *createSpec) size() node.Size {
	return node.Size{CPUs: s.CPUs, RAM: s.RAM, Disk: disk.Total(s.Disks)}
}

// usage returns what the host uses of its account's limits with so many addresses of IPv4.
func (s *createSpec) usage(ipv4 int64) account.Usage {
	return account.Usage{
		account.HostCount: 1, account.CPUNumber: int64(s.CPUs), account.RAMMiB: int64(s.RAM),
		account.HDDMiB: disk.Total(s.Disks), account.IPv4Number: ipv4,
	}
}
