package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/GehirnInc/crypt/sha512_crypt"
	"github.com/google/uuid"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// Where a create may be cut off.
var (
	pointPlanned  = crash.At("vm.create.planned")
	pointReserved = crash.At("vm.create.reserved")
	pointStored   = crash.At("vm.create.stored")
	pointCreated  = crash.At("vm.create.committed")
	pointAnswered = crash.At("vm.create.poked")
)

// CreateHost checks the wish against everything that is known, takes addresses, then room and rows in one transaction.
// When the process dies in between, the addresses lapse: nobody confirmed them.
func (s *Server) CreateHost(ctx context.Context, r *vmpb.CreateHostRequest) (*vmpb.CreateHostResponse, error) {
	w := wish(r)
	if err := w.Check(); err != nil {
		return nil, err
	}
	h, err := s.plan(ctx, w)
	if err != nil {
		return nil, err
	}
	pointPlanned.Hit()
	addrs, err := s.reserve(ctx, h, w)
	if err != nil {
		return nil, err
	}
	pointReserved.Hit()
	resp, err := s.record(ctx, h, w, addrs)
	if err != nil {
		// When nobody knows whether the host is stored, its addresses must not be taken from it. If it is not, they lapse.
		if !errors.Is(err, pg.ErrUnknownCommit) {
			s.giveBack(ctx, h.UUID, h.UUID.String())
		}
		return nil, err
	}
	pointCreated.Hit()
	pointAnswered.Hit()
	return resp, nil
}

func wish(r *vmpb.CreateHostRequest) *domain.Wish {
	w := &domain.Wish{
		Name: r.GetName(), Comment: r.GetComment(), Domain: r.GetDomain(), Password: r.GetPassword(),
		Cluster: r.GetCluster(), Node: r.GetNode(), Account: r.GetAccount(),
		OS: r.GetOs(), Image: r.GetImage(), Preset: r.GetPreset(),
		CPUs: r.GetCpuNumber(), RAM: r.GetRamMib(),
		IPv4Number: 1, IPv4Pools: r.GetIpv4Pool(), WishedAddress: r.GetIpAddr().GetName(), OfNetwork: r.GetIpAddr().GetIpNetwork(),
		IPv6:         r.GetIpv6Enabled(),
		AntiSpoofing: r.GetAntiSpoofing(), SSHKeys: r.GetSshKeys(),
	}
	if r.Ipv4Number != nil {
		w.IPv4Number = r.GetIpv4Number()
	}
	if p := r.GetIpAddr().GetIpPool(); p != 0 {
		w.IPv4Pools = append(w.IPv4Pools, p)
	}
	for _, d := range r.GetDisks() {
		w.Disks = append(w.Disks, domain.Disk{SizeMiB: d.GetSizeMib()})
	}
	if len(w.Disks) == 0 && r.HddMib != nil {
		w.Disks = []domain.Disk{{SizeMiB: r.GetHddMib()}}
	}
	return w
}

// plan resolves what the wish names and completes it. The host that it returns has everything but id, node and rows.
func (s *Server) plan(ctx context.Context, w *domain.Wish) (*domain.Host, error) {
	caller, _ := identity.From(ctx)
	account, err := s.accountFor(ctx, caller, w.Account)
	if err != nil {
		return nil, err
	}
	g, err := s.store.Ground(ctx, w.Cluster, w.OS, account, caller.Admin())
	switch {
	case err != nil:
		return nil, err
	case g.ClusterID == 0:
		return nil, fault.Invalid.With("there is no cluster %d", w.Cluster).On("cluster")
	case g.OSID == 0:
		return nil, fault.Invalid.With("there is no OS %d", w.OS).On("os")
	case !g.Ready:
		return nil, fault.Invalid.With("OS %d is being imported", w.OS).On("os")
	}
	if err := w.Fill(g.MinRAM, g.MinDisk, g.Template); err != nil {
		return nil, err
	}
	// The limits count in the transaction that stores the host. This look spares those who have no chance the addresses, and others
	// the want of them meanwhile.
	if err := g.Limits.Allow(w.UsageOf(int64(w.IPv4Number))); err != nil {
		return nil, err
	}
	keys, err := s.peers.Users.ListSSHKeysOf(ctx, &authpb.ListSSHKeysOfRequest{User: account})
	if err != nil {
		return nil, fmt.Errorf("keys of account %d: %w", account, err)
	}
	for _, k := range keys.GetList() {
		w.SSHKeys = append(w.SSHKeys, k.GetSshPubKey())
	}
	hash, err := hashPassword(w.Password)
	if err != nil {
		return nil, err
	}
	id := uuid.New()
	h := &domain.Host{
		UUID: id, Name: w.Name, Comment: w.Comment, State: domain.Creating, Wanted: domain.WantActive,
		AccountID: account, ClusterID: g.ClusterID, OSID: g.OSID, CPUs: w.CPUs, RAM: w.RAM, MAC: domain.MAC(id),
		AntiSpoofing: w.AntiSpoofing, PasswordHash: hash, SSHKeys: w.SSHKeys,
	}
	h.Hostname, h.Domain = domain.Hostname(w.Name, w.Domain, g.DomainTemplate)
	return h, nil
}

// blame turns "not found" into a fault of the request's field, with status 400: clients print the body of 400 only.
func blame(err error, field, format string, id int32) error {
	if errors.Is(err, fault.NotFound) {
		return fault.Invalid.With(format, id).On(field)
	}
	return err
}

// accountFor returns the owner of the new host. vm's copy of the accounts may lag behind auth, so a miss asks auth.
func (s *Server) accountFor(ctx context.Context, caller identity.Identity, wanted int32) (int32, error) {
	if wanted == 0 || wanted == caller.AccountID {
		return caller.AccountID, nil
	}
	if !caller.ReachesAll() {
		return 0, fault.Invalid.With("there is no account %d", wanted).On("account")
	}
	a, err := s.store.Account(ctx, wanted, 0)
	if err == nil {
		return a.ID, nil
	}
	u, err := s.peers.Users.GetUser(ctx, &authpb.GetUserRequest{Id: wanted})
	if f, ok := fault.From(err); ok {
		return 0, blame(f, "account", "there is no account %d", wanted)
	}
	if err != nil {
		return 0, err
	}
	return u.GetId(), s.store.Aside(ctx, func(tx store.Tx) error { return tx.KeepAccount(ctx, copyOf(u)) })
}

func copyOf(u *authpb.User) store.Account {
	return store.Account{ID: u.GetId(), Email: u.GetEmail(), Roles: u.GetRoles(), State: u.GetState()}
}

// hashPassword makes the crypt(3) form that guests understand; "" for no password. The password itself is kept nowhere.
func hashPassword(password string) (string, error) {
	if password == "" {
		return "", nil
	}
	return sha512_crypt.New().Generate([]byte(password), []byte("$6$"+rand.Text()[:16]))
}

func (s *Server) reserve(ctx context.Context, h *domain.Host, w *domain.Wish) ([]domain.Address, error) {
	req := &ippb.ReserveRequest{
		Owner: h.UUID.String(), ClusterId: h.ClusterID, AccountId: h.AccountID, PoolIds: w.IPv4Pools, Ipv4Count: w.IPv4Number,
		Wish: w.WishedAddress, NetworkId: w.OfNetwork,
	}
	if w.IPv6 {
		req.Ipv6Count = 1
	}
	if req.GetIpv4Count()+req.GetIpv6Count() == 0 {
		return nil, nil
	}
	return s.take(ctx, req)
}

// take reserves addresses.
func (s *Server) take(ctx context.Context, req *ippb.ReserveRequest) ([]domain.Address, error) {
	resp, err := s.peers.Addresses.Reserve(ctx, req)
	if err != nil {
		return nil, err
	}
	list := make([]domain.Address, len(resp.GetAddresses()))
	for i, a := range resp.GetAddresses() {
		list[i] = domain.Address{
			IPID: a.GetId(), Family: a.GetFamily(), Prefix: a.GetPrefixLength(), PoolID: a.GetIppool(), NetworkID: a.GetIpnet(),
			Interface: a.GetInterface(), Addr: a.GetIpAddr(), Mask: a.GetMask(), Gateway: a.GetGateway(), DNS: a.GetDnsServers(),
			State: domain.AddressActive, Generation: a.GetGeneration(), PTRSerial: a.GetPtrSerial(),
		}
	}
	return list, nil
}

// record stores the host. When others take the room that was chosen, it chooses again; that ends, for they use it up.
func (s *Server) record(ctx context.Context, h *domain.Host, w *domain.Wish, addrs []domain.Address) (resp *vmpb.CreateHostResponse, err error) {
	usage := w.UsageOf(ipv4Count(addrs))
	size := store.Size{CPUs: h.CPUs, RAM: h.RAM, Disk: w.DiskTotal()}
	for {
		err = s.store.InTx(ctx, func(tx store.Tx) error {
			h.NodeID, err = tx.Choose(ctx, h.ClusterID, w.Node, h.OSID, size)
			if err != nil {
				return err
			}
			if err := tx.InsertHost(ctx, h, w.Disks, addrs); err != nil {
				return err
			}
			job, err := enqueue(ctx, tx, work.HostCreate, store.HostKey(h.ID), h.AccountID, args(h, false))
			if err != nil {
				return err
			}
			resp = &vmpb.CreateHostResponse{Id: h.ID, Task: job.ID}
			if err := tx.Answer(ctx, resp); err != nil {
				return err
			}
			if err := work.Tell(ctx, tx, h, "created"); err != nil {
				return err
			}
			audit.Of(ctx).Object("host", h.ID)
			audit.Of(ctx).Change(nil, map[string]any{
				"name": h.Name, "account": h.AccountID, "cluster": h.ClusterID, "node": h.NodeID, "os": h.OSID,
				"cpu_number": h.CPUs, "ram_mib": h.RAM, "hdd_mib": size.Disk,
			})
			pointStored.Hit()
			return tx.Take(ctx, h, usage, size)
		})
		if !errors.Is(err, store.ErrTaken) {
			return resp, err
		}
	}
}

func ipv4Count(addrs []domain.Address) (n int64) {
	for _, a := range addrs {
		if a.Family == 4 {
			n++
		}
	}
	return n
}

// giveBack releases reservations of a host that will not be, or with keys those that it will not get. When that fails
// they lapse.
func (s *Server) giveBack(ctx context.Context, id uuid.UUID, keys ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, key := range keys {
		_, _ = s.peers.Addresses.Release(ctx, &ippb.ReleaseRequest{Owner: id.String(), Key: key})
	}
}

func args(h *domain.Host, force bool) work.Host {
	return work.Host{ID: h.ID, UUID: h.UUID.String(), Force: force}
}
