package host

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/GehirnInc/crypt/sha512_crypt"
	"github.com/google/uuid"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/task"
)

// Where a create may be cut off.
var (
	pointPlanned  = crash.At("vm.create.planned")
	pointReserved = crash.At("vm.create.reserved")
	pointStored   = crash.At("vm.create.stored")
	pointCreated  = crash.At("vm.create.committed")
	pointAnswered = crash.At("vm.create.poked")
)

// CreateHost checks the request against everything that is known, reserves addresses, then stores the host with its job
// in one transaction. When the process dies in between, the addresses expire, because no job confirms them.
func (s *Server) CreateHost(ctx context.Context, r *vmpb.CreateHostRequest) (*vmpb.CreateHostResponse, error) {
	spec := specOf(r)
	if err := spec.check(); err != nil {
		return nil, err
	}
	h, place, err := s.plan(ctx, spec)
	if err != nil {
		return nil, err
	}
	pointPlanned.Hit()
	keys, addrs, err := s.reserve(ctx, h, spec)
	if err != nil {
		s.peers.Addresses.Release(ctx, h.UUID, keys...)
		return nil, spec.blame(err)
	}
	pointReserved.Hit()
	resp, err := s.record(ctx, h, spec, place, keys, addrs)
	if err != nil {
		err = account.OfOwner(err, spec.Account)
		// When it is unknown whether the host is stored, its addresses must not be taken from it. If it is not, they
		// expire.
		if !errors.Is(err, pg.ErrUnknownCommit) {
			s.peers.Addresses.Release(ctx, h.UUID, keys...)
		}
		return nil, err
	}
	pointCreated.Hit()
	pointAnswered.Hit()
	return resp, nil
}

func specOf(r *vmpb.CreateHostRequest) *createSpec {
	s := &createSpec{
		Name: r.GetName(), Comment: r.GetComment(), Domain: r.GetDomain(), Password: r.GetPassword(),
		Cluster: r.GetCluster(), Node: r.GetNode(), Account: r.GetAccount(),
		OS: r.GetOs(), Image: r.GetImage(), Preset: r.GetPreset(),
		CPUs: r.GetCpuNumber(), RAM: r.GetRamMib(), HDD: r.GetHddMib(), Storages: map[string]int32{"storage": r.GetStorage()},
		IPv4Number: 1, IPv4Pools: r.GetIpv4Pool(), Address: r.GetIpAddr().GetName(), Network: r.GetIpAddr().GetIpNetwork(),
		IPv6: r.GetIpv6Enabled(), IPv6Pools: r.GetIpv6Pool(), IPv6Prefix: r.GetIpv6Prefix(),
		Balancer: r.GetBalancerMode(), AntiSpoofing: r.GetAntiSpoofing(), SSHKeys: r.GetSshKeys(),
		Tags: r.GetTags(),
		Limits: machine.Limits{
			CPUMode: r.GetCpuMode(), CPUModel: r.GetCpuCustomModel(), Nesting: r.GetNesting(), HotPlug: r.GetHotPlug(),
			LiveResize: r.GetLiveResize(), CPUWeight: r.GetCpuWeight(), IOWeight: r.GetIoWeight(),
			IOReadMbit: r.GetIoReadMbitps(), IOWriteMbit: r.GetIoWriteMbitps(), IOReadIOPS: r.GetIoReadIops(),
			IOWriteIOPS: r.GetIoWriteIops(), NetMbit: r.GetNetBandwidthMbitps(), NetInMbit: r.GetNetInMbitps(),
			NetOutMbit: r.GetNetOutMbitps(), Firewall: RulesOf(r.GetFirewallRules()),
		},
	}
	if r.Ipv4Number != nil {
		s.IPv4Number, s.IPv4Given = r.GetIpv4Number(), true
	}
	if p := r.GetIpAddr().GetIpPool(); p != 0 {
		s.PoolOfOne = len(s.IPv4Pools) == 0
		s.IPv4Pools = append(s.IPv4Pools, p)
	}
	s.FromWhere = r.GetIpAddr().GetIpPool() != 0 || s.Network != 0
	for i, d := range r.GetDisks() {
		s.Disks = append(s.Disks, disk.Disk{Label: d.GetName(), SizeMiB: d.GetSizeMib(), BootOrder: d.GetBootOrder()})
		s.Storages[fmt.Sprintf("disks[%d].storage", i)] = d.GetStorage()
	}
	for _, x := range r.GetCustomInterfaces() {
		s.Interfaces = append(s.Interfaces, card{
			MAC: x.GetMac(), Main: x.IsMainNetwork, Address: x.GetIpName(), Pool: x.GetIppool(), Count: x.IpCount, None: x.GetNoIp(),
		})
	}
	return s
}

// plan resolves what the spec names and completes it, and chooses a place. The host that it returns has everything but id,
// node, RAM and rows.
func (s *Server) plan(ctx context.Context, spec *createSpec) (h *Host, place node.Place, err error) {
	caller, _ := identity.From(ctx)
	owner, err := s.peers.Accounts.Owner(ctx, spec.Account)
	if err != nil {
		return nil, place, err
	}
	p, err := readPlacement(ctx, s.db, spec.Cluster, spec.OS, owner, caller.Admin())
	if err != nil {
		return nil, place, err
	}
	if err := spec.checkPlacement(p); err != nil {
		return nil, place, err
	}
	if err := spec.fill(); err != nil {
		return nil, place, err
	}
	// Limits and room count in the transaction that stores the host. A request that has no chance is refused here,
	// before it takes addresses from others.
	place, err = node.Choose(ctx, s.db, p.ClusterID, spec.Node, p.OSID, spec.want())
	if err != nil {
		return nil, place, spec.unable(err)
	}
	four, _ := address.Asked(spec.claims())
	if err := p.Limits.Allow(spec.on(place).usage(int64(four))); err != nil {
		return nil, place, account.OfOwner(err, spec.Account)
	}
	keys, err := s.peers.Accounts.SSHKeys(ctx, owner)
	if err != nil {
		return nil, place, fmt.Errorf("keys of account %d: %w", owner, err)
	}
	if err := spec.addKeys(keys); err != nil {
		return nil, place, err
	}
	hash, err := HashPassword(spec.Password)
	if err != nil {
		return nil, place, err
	}
	return spec.host(owner, hash, p), place, nil
}

// checkPlacement refuses a cluster, OS or storage that does not exist.
func (s *createSpec) checkPlacement(p placement) error {
	switch {
	case p.ClusterID == 0:
		return fault.Invalid.With("there is no cluster %d", s.Cluster).On("cluster")
	case p.OSID == 0:
		return fault.Invalid.With("there is no OS %d", s.OS).On("os")
	case !p.Ready:
		return fault.Invalid.With("OS %d is being imported", s.OS).On("os")
	default:
		return s.checkStorages(cluster.StorageID(p.ClusterID))
	}
}

// host returns the host of the spec, without id, node and rows.
func (s *createSpec) host(owner int32, hash string, p placement) *Host {
	id := uuid.New()
	h := &Host{
		UUID: id, Name: s.Name, Comment: s.Comment, State: Creating, Wanted: WantActive,
		AccountID: owner, ClusterID: p.ClusterID, OSID: p.OSID, CPUs: s.CPUs, MAC: s.MAC,
		AntiSpoofing: p.AntiSpoofing || s.AntiSpoofing, PasswordHash: hash, SSHKeys: s.SSHKeys, Balanced: s.Balancer != balancerOff,
		Autostart: true, Tags: s.Tags,
	}
	if !s.Limits.None() {
		h.Limits = &s.Limits
	}
	if s.AntiSpoofing {
		h.Limited = &s.AntiSpoofing
	}
	if h.MAC == nil {
		h.MAC = MAC(id)
	}
	h.Hostname, h.Domain = hostnames(s.Name, s.Domain, p.DomainTemplate)
	return h
}

// HashPassword returns the crypt(3) form that guests understand, "" for no password. The password itself is not kept.
func HashPassword(password string) (string, error) {
	if password == "" {
		return "", nil
	}
	return sha512_crypt.New().Generate([]byte(password), []byte("$6$"+rand.Text()[:16]))
}

// reserve reserves the addresses of a new host. The first claim has the host's UUID as its key, further ones have keys of
// their own. reserve returns the keys also when a claim fails.
func (s *Server) reserve(ctx context.Context, h *Host, spec *createSpec) (keys []string, addrs []address.Address, err error) {
	for _, c := range spec.claims() {
		if four, six := c.Asked(); four+six == 0 {
			continue
		}
		c.Owner, c.ClusterId, c.AccountId, c.Key = h.UUID.String(), h.ClusterID, h.AccountID, h.UUID.String()
		if len(keys) > 0 {
			c.Key = uuid.NewString()
		}
		got, err := s.peers.Addresses.Reserve(ctx, c)
		keys, addrs = append(keys, c.GetKey()), append(addrs, got...)
		if err != nil {
			return keys, nil, err
		}
	}
	return keys, addrs, address.CheckPrefix(addrs, spec.IPv6Prefix)
}

// record stores the host at the place that was chosen. When other hosts take the room there, it chooses again; that ends,
// because they use it up.
func (s *Server) record(
	ctx context.Context, h *Host, spec *createSpec, place node.Place, keys []string, addrs []address.Address,
) (
	resp *vmpb.CreateHostResponse, err error,
) {
	four := address.CountIPv4(addrs)
	args := h.Args(false)
	for {
		err = s.db.InTx(ctx, func(tx *unit.Tx) error {
			there := spec.on(place)
			h.NodeID, h.RAM = place.Node, there.RAM
			if err := (rows{tx}).InsertHost(ctx, h, there.Disks, addrs); err != nil {
				return err
			}
			args.ID, args.Keys = h.ID, keys
			job, err := task.Enqueue(ctx, tx, createKind, task.HostKey(h.ID), h.AccountID, h.NodeID, args)
			if err != nil {
				return err
			}
			resp = &vmpb.CreateHostResponse{Id: h.ID, Task: job.ID}
			if err := tx.Answer(ctx, resp); err != nil {
				return err
			}
			if err := Emit(ctx, tx, h, "created"); err != nil {
				return err
			}
			audit.Of(ctx).Object("host", h.ID)
			audit.Of(ctx).Change(nil, map[string]any{
				"name": h.Name, "account": h.AccountID, "cluster": h.ClusterID, "node": h.NodeID, "os": h.OSID,
				"cpu_number": h.CPUs, "ram_mib": h.RAM, "hdd_mib": there.size().Disk,
			})
			pointStored.Hit()
			return rows{tx}.Take(ctx, h, there.usage(four), there.size())
		})
		if !errors.Is(err, node.ErrRoomTaken) {
			return resp, err
		}
		if place, err = node.Choose(ctx, s.db, h.ClusterID, spec.Node, h.OSID, spec.want()); err != nil {
			return nil, spec.unable(err)
		}
	}
}
