// Package first creates the initial objects of a new installation.
package first

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"google.golang.org/grpc"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"
)

// Network creates the private network of a first start, as the administrator of ctx: a pool of addresses that the
// nodes translate to their own. ip and vm are connections to these services, stack is the id of the installation. A
// call after a crash completes the network.
func Network(ctx context.Context, ip, vm grpc.ClientConnInterface, stack string) (prefix netip.Prefix, err error) {
	networks, pools := ippb.NewNetworkServiceClient(ip), ippb.NewPoolServiceClient(ip)
	have, err := networks.ListNetworks(ctx, &ippb.ListNetworksRequest{})
	if err != nil {
		return prefix, err
	}
	if len(have.GetList()) > 0 {
		prefix, err = netip.ParsePrefix(have.GetList()[0].GetName())
	} else if prefix, err = FreePrefix(stack); err == nil {
		_, err = networks.CreateNetwork(ctx, &ippb.CreateNetworkRequest{
			Name: prefix.String(), Note: "made at the first start: private, translated to the node's address",
		})
	}
	if err != nil {
		return prefix, err
	}
	list, err := pools.ListPools(ctx, &ippb.ListPoolsRequest{})
	if err != nil {
		return prefix, err
	}
	var pool *ippb.Pool
	if len(list.GetList()) > 0 {
		pool = list.GetList()[0]
	} else {
		made, err := pools.CreatePool(ctx, &ippb.CreatePoolRequest{Name: "private", Note: "made at the first start"})
		if err != nil {
			return prefix, err
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
			return prefix, err
		}
	}
	clusters := vmpb.NewClusterServiceClient(vm)
	all, err := clusters.ListClusters(ctx, &vmpb.ListClustersRequest{})
	if err != nil {
		return prefix, err
	}
	bind := &vmpb.BindPoolRequest{Id: pool.GetId()}
	for _, c := range all.GetList() {
		bind.Clusters = append(bind.Clusters, &vmpb.PoolBinding{Id: c.GetId()})
	}
	_, err = clusters.BindPool(ctx, bind)
	return prefix, err
}

// FreePrefix returns a /24 of 10.64.0.0/10 that no interface of this machine uses. The prefix is derived from the
// stack's id, so that several stacks on a machine use different ones.
func FreePrefix(stack string) (netip.Prefix, error) {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	for n := range 64 {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", stack, n))
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
