package network

import (
	"context"
	"net/netip"
	"strconv"

	"google.golang.org/grpc"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/message"
)

// MoveGateway makes the address to the gateway among the addresses of all ranges, so that no host gets it, and the
// address from an ordinary one again. Either may be the zero Addr, or in no range. It refuses an address that is in
// use.
type MoveGateway func(ctx context.Context, tx *unit.Tx, from, to netip.Addr) error

type server struct {
	ippb.UnimplementedNetworkServiceServer
	db          *unit.DB
	moveGateway MoveGateway
}

// Register adds the rpcs of networks to r. Addresses are a noun above networks, so what happens to them is passed in:
// move.
func Register(r grpc.ServiceRegistrar, db *unit.DB, move MoveGateway) {
	ippb.RegisterNetworkServiceServer(r, &server{db: db, moveGateway: move})
}

// CreateNetwork creates a network.
func (s *server) CreateNetwork(ctx context.Context, r *ippb.CreateNetworkRequest) (*ippb.CreateNetworkResponse, error) {
	n, err := parse(r.GetName(), r.GetType(), r.GetGateway(), r.GetNote())
	if err != nil {
		return nil, err
	}
	if err := n.setDNS(r.GetDnsServers()); err != nil {
		return nil, err
	}
	if err := n.setVLAN(r.GetVlan()); err != nil {
		return nil, err
	}
	var resp *ippb.CreateNetworkResponse
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := LockGateways(ctx, tx); err != nil {
			return err
		}
		id, err := create(ctx, tx, n)
		if err != nil {
			return err
		}
		if err := s.moveGateway(ctx, tx, netip.Addr{}, n.Gateway); err != nil {
			return err
		}
		audit.Of(ctx).Object("network", id)
		audit.Of(ctx).Change(nil, record(n))
		resp = &ippb.CreateNetworkResponse{Id: id}
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// ListNetworks returns the networks that the query selects.
func (s *server) ListNetworks(ctx context.Context, r *ippb.ListNetworksRequest) (*ippb.ListNetworksResponse, error) {
	l, err := list(ctx, s.db, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &ippb.ListNetworksResponse{LastNotify: l.LastNotify, Size: l.Size, List: message.List(l.Rows, toProto)}, nil
}

// GetNetwork returns one network.
func (s *server) GetNetwork(ctx context.Context, r *ippb.GetNetworkRequest) (*ippb.Network, error) {
	n, err := get(ctx, s.db, r.GetId())
	if err != nil {
		return nil, err
	}
	return toProto(n), nil
}

// UpdateNetwork changes the fields that the request has.
func (s *server) UpdateNetwork(ctx context.Context, r *ippb.UpdateNetworkRequest) (*ippb.UpdateNetworkResponse, error) {
	if err := message.CheckNote(r.GetNote()); err != nil {
		return nil, err
	}
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := LockGateways(ctx, tx); err != nil {
			return err
		}
		old, err := lock(ctx, tx, r.GetId())
		if err != nil {
			return err
		}
		n, err := changed(old, r)
		if err != nil {
			return err
		}
		if n.Type != old.Type {
			if err := checkEmpty(ctx, tx, n); err != nil {
				return err
			}
		}
		audit.Of(ctx).Change(record(old), record(n))
		if err := s.replaceGateway(ctx, tx, old, n.Gateway); err != nil {
			return err
		}
		return save(ctx, tx, n)
	})
	if err != nil {
		return nil, err
	}
	return &ippb.UpdateNetworkResponse{Id: r.GetId()}, nil
}

// replaceGateway makes the address to the gateway of a network. The gateway that the network had becomes an ordinary
// address, unless another network has it too.
func (s *server) replaceGateway(ctx context.Context, tx *unit.Tx, n Network, to netip.Addr) error {
	from := n.Gateway
	if from == to {
		return nil
	}
	if shared, err := isGatewayOfOther(ctx, tx, n.ID, from); err != nil || shared {
		from = netip.Addr{}
		if err != nil {
			return err
		}
	}
	return s.moveGateway(ctx, tx, from, to)
}

// changed returns n with the fields of the request.
func changed(n Network, r *ippb.UpdateNetworkRequest) (Network, error) {
	if err := n.checkName(r.GetName()); err != nil {
		return n, err
	}
	if r.Note != nil {
		n.Note = r.GetNote()
	}
	if r.Type != nil {
		if err := n.setType(r.GetType()); err != nil {
			return n, err
		}
	}
	if r.Gateway != nil {
		var err error
		if n.Gateway, err = n.parseGateway(r.GetGateway()); err != nil {
			return n, err
		}
	}
	if r.DnsServers != nil {
		if err := n.setDNS(r.GetDnsServers()); err != nil {
			return n, err
		}
	}
	if r.Vlan != nil {
		if err := n.setVLAN(r.GetVlan()); err != nil {
			return n, err
		}
	}
	return n, nil
}

// GetNetworkStats counts the addresses of a network.
func (s *server) GetNetworkStats(ctx context.Context, r *ippb.GetNetworkStatsRequest) (*ippb.Stats, error) {
	return countNetwork(ctx, s.db, r.GetId())
}

// DeleteNetwork deletes a network that has no ranges.
func (s *server) DeleteNetwork(ctx context.Context, r *ippb.DeleteNetworkRequest) (*ippb.DeleteNetworkResponse, error) {
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := LockGateways(ctx, tx); err != nil {
			return err
		}
		n, err := lock(ctx, tx, r.GetId())
		if err != nil {
			return err
		}
		if err := s.replaceGateway(ctx, tx, n, netip.Addr{}); err != nil {
			return err
		}
		return remove(ctx, tx, r.GetId())
	})
	if err != nil {
		return nil, err
	}
	return &ippb.DeleteNetworkResponse{Id: r.GetId(), Deleted: []*ippb.DeletedObject{{Id: r.GetId()}}}, nil
}

func toProto(n Network) *ippb.Network {
	return &ippb.Network{
		Id: n.ID, Name: n.CIDR.String(), Note: n.Note, Type: n.Type, Parent: message.Number(n.Parent), Vlan: message.Number(n.VLAN),
		Family: inet.Family(n.CIDR.Addr()), Size: inet.Size(n.CIDR), UsingIp: strconv.FormatInt(n.Used, 10),
		DnsServers: message.List(n.DNS, netip.Addr.String), Gateway: inet.Text(n.Gateway),
	}
}

// record returns what the audit log keeps of a network.
func record(n Network) map[string]any {
	return map[string]any{"name": n.CIDR.String(), "gateway": inet.Text(n.Gateway), "note": n.Note}
}
