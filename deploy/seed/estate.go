package seed

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// estate describes the rows to create. Every value is derived from the number of its row, so two estates of one size
// are equal.
type estate struct {
	hosts, accounts, clusters, nodes, own int
	os                                    int32
	// The existing rows, after which ids continue.
	account0, cluster0, node0, network0, pool0, range0, address0, job0 int
	start                                                              time.Time
}

const (
	hostsANode     = 64
	hostsAnAccount = 20
	nodesACluster  = 250
)

func newEstate(ctx context.Context, db *pgx.Conn, size Size) (*estate, error) {
	e := &estate{
		hosts: size.Hosts, accounts: size.Hosts/hostsAnAccount + 1, nodes: cmp.Or(size.Nodes, size.Hosts/hostsANode+1), own: size.Own,
		start: time.Now().Add(-time.Duration(size.Hosts) * time.Second),
	}
	e.clusters = min(e.nodes/nodesACluster+2, 12)
	err := db.QueryRow(ctx, `SELECT coalesce((SELECT min(id) FROM vm.os), 0), (SELECT coalesce(max(id), 0) FROM auth.user_account),
		(SELECT coalesce(max(id), 0) FROM vm.cluster), (SELECT coalesce(max(id), 0) FROM vm.node), (SELECT coalesce(max(id), 0) FROM ip.network),
		(SELECT coalesce(max(id), 0) FROM ip.pool), (SELECT coalesce(max(id), 0) FROM ip.pool_range), (SELECT coalesce(max(id), 0) FROM ip.address),
		100000`).Scan(&e.os, &e.account0, &e.cluster0, &e.node0, &e.network0, &e.pool0, &e.range0, &e.address0, &e.job0)
	if err == nil && e.os == 0 {
		err = fmt.Errorf("seed: the node has no OS template yet")
	}
	return e, err
}

// account returns the owner of a host: few accounts have many hosts, most have some.
func (e *estate) account(host int) int {
	if host <= e.own {
		return e.account0 + 1
	}
	x := float64(mix(host, 1)%1_000_000) / 1_000_000
	return e.account0 + 1 + int(float64(e.accounts)*math.Pow(x, 1.5))
}

func (e *estate) node(host int) int { return e.node0 + 1 + mix(host, 2)%e.nodes }

// cluster returns the cluster of a node, which is also that of its hosts.
func (e *estate) cluster(node int) int { return e.cluster0 + 1 + (node-e.node0-1)%e.clusters }

func (e *estate) state(host int) (state, wanted string) {
	switch n := mix(host, 3) % 100; {
	case n < 70:
		return "active", "active"
	case n < 95:
		return "stopped", "stopped"
	case n < 98:
		return "paused", "active"
	default:
		return "crashed", "active"
	}
}

var kinds = []string{"web", "db", "mail", "app", "cache", "git", "vpn", "shop", "ci", "dev"}

func (e *estate) name(host int) string {
	return fmt.Sprintf("%s-%06d.example", kinds[mix(host, 4)%len(kinds)], host)
}

func (e *estate) created(host int) time.Time { return e.start.Add(time.Duration(host) * time.Second) }

func machine(host int) uuid.UUID {
	var u uuid.UUID
	binary.BigEndian.PutUint64(u[:8], uint64(mix(host, 5))) // #nosec G115 -- hosts are counted from zero
	binary.BigEndian.PutUint64(u[8:], uint64(host))         // #nosec G115 -- hosts are counted from zero
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

func mac(host int) net.HardwareAddr {
	m := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(m[2:], uint32(host)) // #nosec G115 -- hosts are counted from zero
	return m
}

// network4 is shared address space, which no private network of a first start uses.
var (
	network4 = netip.MustParsePrefix("100.64.0.0/10")
	network6 = netip.MustParsePrefix("fd64:5eed::/64")
)

func ip4(host int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x64400000+uint32(host)+1) // #nosec G115 -- hosts are counted from zero
	return netip.AddrFrom4(b)
}

func ip6(host int) netip.Addr {
	b := network6.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], uint64(host)+1) // #nosec G115 -- hosts are counted from zero
	return netip.AddrFrom16(b)
}

// mix returns a pseudorandom number from 0 that is the same in every run.
func mix(n, salt int) int {
	x := uint64(n)*0x9e3779b97f4a7c15 + uint64(salt)*0xbf58476d1ce4e5b9 // #nosec G115 -- mixed, not counted
	x ^= x >> 31
	x *= 0x94d049bb133111eb
	x ^= x >> 29
	return int(x >> 1) // #nosec G115 -- the sign is shifted out
}
