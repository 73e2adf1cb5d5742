package allinone

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"
)

// File names in the data directory.
const (
	lockFile     = "lock"
	idFile       = "stack-id"
	passwordFile = "admin-password"
	masterFile   = "master-key"
	networkFile  = "first-network"
)

// lock makes sure that one process at a time uses the directory. The kernel drops the lock when the process dies.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another slipway uses %s", dir)
	}
	return func() { _ = f.Close() }, nil
}

// once returns the content of a file of the data directory, and makes it with value at the first time.
func once(dir, name string, mode os.FileMode, value func() (string, error)) (string, error) {
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	v, err := value()
	if err != nil {
		return "", err
	}
	if err := write(path+".partial", v+"\n", mode); err != nil {
		return "", err
	}
	if err := os.Rename(path+".partial", path); err != nil {
		return "", err
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	return v, errors.Join(d.Sync(), d.Close())
}

// write writes a file that is there after a power cut too: what the database keeps may be worth nothing without it.
func write(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// stackID tells the machines of this installation from those of others on the same hypervisor.
func stackID(dir string) (string, error) {
	return once(dir, idFile, 0o644, func() (string, error) { return uuid.NewString(), nil })
}

// adminPassword is the given one, or one that the first start makes. It matters at the first start only.
func adminPassword(cfg Config) (string, error) {
	if cfg.AdminPassword != "" {
		return cfg.AdminPassword, nil
	}
	return once(cfg.Data, passwordFile, 0o600, func() (string, error) { return rand.Text(), nil })
}

// firstNetwork makes the private network of a first start: a pool of addresses that the node translates to its own. What
// a crash left half made is completed; what an administrator changes later stays.
func (s *stack) firstNetwork(ctx context.Context) error {
	_, err := once(s.cfg.Data, networkFile, 0o644, func() (string, error) {
		ctx, err := s.asAdmin(ctx)
		if err != nil {
			return "", err
		}
		return s.makeNetwork(ctx)
	})
	return err
}

func (s *stack) makeNetwork(ctx context.Context) (string, error) {
	conn := s.ip.Server().Local("slipway")
	networks, pools := ippb.NewNetworkServiceClient(conn), ippb.NewPoolServiceClient(conn)
	have, err := networks.ListNetworks(ctx, &ippb.ListNetworksRequest{})
	if err != nil {
		return "", err
	}
	var prefix netip.Prefix
	if len(have.GetList()) > 0 {
		prefix, err = netip.ParsePrefix(have.GetList()[0].GetName())
	} else if prefix, err = s.freePrefix(); err == nil {
		_, err = networks.CreateNetwork(ctx, &ippb.CreateNetworkRequest{
			Name: prefix.String(), Note: "made at the first start: private, translated to the node's address",
		})
	}
	if err != nil {
		return "", err
	}
	list, err := pools.ListPools(ctx, &ippb.ListPoolsRequest{})
	if err != nil {
		return "", err
	}
	var pool *ippb.Pool
	if len(list.GetList()) > 0 {
		pool = list.GetList()[0]
	} else {
		made, err := pools.CreatePool(ctx, &ippb.CreatePoolRequest{Name: "private", Note: "made at the first start"})
		if err != nil {
			return "", err
		}
		pool = &ippb.Pool{Id: made.GetId()}
	}
	if pool.GetIpv4().GetTotal() == 0 {
		first := prefix.Addr().As4()
		first[3] = 10
		last := first
		last[3] = 250
		run := fmt.Sprintf("%s-%s", netip.AddrFrom4(first), netip.AddrFrom4(last))
		if _, err := pools.AddRange(ctx, &ippb.AddRangeRequest{Id: pool.GetId(), Name: run}); err != nil {
			return "", err
		}
	}
	clusters := vmpb.NewClusterServiceClient(s.vm.Server().Local("slipway"))
	all, err := clusters.ListClusters(ctx, &vmpb.ListClustersRequest{})
	if err != nil {
		return "", err
	}
	bind := &vmpb.BindPoolRequest{Id: pool.GetId()}
	for _, c := range all.GetList() {
		bind.Clusters = append(bind.Clusters, &vmpb.PoolBinding{Id: c.GetId()})
	}
	_, err = clusters.BindPool(ctx, bind)
	return prefix.String(), err
}

// freePrefix is a /24 out of 10.64.0.0/10 that no interface of this machine is in. It follows from the stack's id, so
// that several stacks on a machine take different ones.
func (s *stack) freePrefix() (netip.Prefix, error) {
	id, err := stackID(s.cfg.Data)
	if err != nil {
		return netip.Prefix{}, err
	}
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	for n := range 64 {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", id, n))
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64 | sum[0]&63, sum[1], 0}), 24)
		if !overlaps(p, taken) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("no free private network on this machine")
}

func overlaps(p netip.Prefix, taken []net.Addr) bool {
	for _, t := range taken {
		if q, err := netip.ParsePrefix(t.String()); err == nil && q.Overlaps(p) {
			return true
		}
	}
	return false
}
