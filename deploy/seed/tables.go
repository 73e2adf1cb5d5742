package seed

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
)

// table is how one table is filled: row returns the n-th row, from 1.
type table struct {
	schema, name string
	columns      []string
	rows         int
	row          func(n int) []any
}

func columns(names string) []string { return strings.Split(names, " ") }

// tables are in the order that their foreign keys require.
func (e *estate) tables() []table {
	return append(append(e.people(), e.addresses()...), e.machines()...)
}

func (e *estate) people() []table {
	email := func(n int) string { return fmt.Sprintf("user%06d@example.com", n) }
	role := []string{"@user"}
	return []table{
		{"auth", "user_account", columns("id email password_hash roles created_at"), e.accounts, func(n int) []any {
			return []any{e.account0 + n, email(n), "", role, e.start} // no password matches an empty hash
		}},
		{"auth", "ssh_key", columns("account_id name public_key fingerprint"), e.accounts, func(n int) []any {
			sum := fmt.Sprintf("%x", sha256.Sum256([]byte(email(n))))
			return []any{e.account0 + n, "laptop", "ssh-ed25519 " + sum, "SHA256:" + sum[:43]}
		}},
		{"vm", "account", columns("id email roles state"), e.accounts, func(n int) []any {
			return []any{e.account0 + n, email(n), role, "active"}
		}},
	}
}

func (e *estate) addresses() []table {
	return []table{
		{"ip", "network", columns("id cidr gateway note"), 2, func(n int) []any {
			if n == 1 {
				return []any{e.network0 + n, network4, network4.Addr().Next(), "estate"}
			}
			return []any{e.network0 + n, network6, network6.Addr().Next(), "estate"}
		}},
		{"ip", "pool", columns("id name note"), 1, func(int) []any { return []any{e.pool0 + 1, "estate", ""} }},
		{"ip", "pool_range", columns("id pool_id network_id name first last usable next"), 2, func(n int) []any {
			if n == 1 {
				return []any{e.range0 + n, e.pool0 + 1, e.network0 + n, ip4(1).String() + "-" + ip4(e.hosts).String(), ip4(1), ip4(e.hosts), e.hosts, nil}
			}
			return []any{e.range0 + n, e.pool0 + 1, e.network0 + n, network6.String(), ip6(1), ip6(e.hosts), e.hosts, ip6(e.hosts)}
		}},
		{"ip", "address", columns("id ip range_id pool_id state owner position"), e.hosts, func(n int) []any {
			return []any{e.address0 + n, ip4(n), e.range0 + 1, e.pool0 + 1, "assigned", machine(n), 0}
		}},
		{"ip", "address", columns("id ip range_id pool_id state owner position"), e.hosts / 5, func(n int) []any {
			return []any{e.address0 + e.hosts + n, ip6(5 * n), e.range0 + 2, e.pool0 + 1, "assigned", machine(5 * n), 1}
		}},
	}
}

// never is when the estate's nodes were last seen, so that vm ignores their silence.
var never = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

func (e *estate) machines() []table {
	return []table{
		{"vm", "cluster", columns("id name domain_template"), e.clusters, func(n int) []any {
			return []any{e.cluster0 + n, fmt.Sprintf("cluster-%02d", n), "{name}.example"}
		}},
		{
			"vm", "node", columns("id cluster_id uuid name endpoint maintenance cpu_number cpu_model ram_mib storage_mib storage_free_mib " +
				"cpu_allocated ram_allocated storage_allocated hypervisor accel kernel_version os_version qemu_version libvirt_version boot_id bridge seen_at"),
			e.nodes, func(n int) []any {
				return []any{
					// An endpoint that cannot be dialed, so that vm ignores the hosts of the node.
					e.node0 + n, e.cluster(e.node0 + n), machine(-n), fmt.Sprintf("node-%05d", n), fmt.Sprintf("unix://estate/%d", n), true,
					64, "EPYC", 524288, 8388608, 4194304, 128, 131072, 655360, "kvm", "kvm", "6.1.0", "Debian 12", "7.2", "9.0", "seed", "br0", never,
				}
			},
		},
		{"vm", "host", columns("id uuid name comment domain hostname state wanted account_id cluster_id node_id os_id cpu_number ram_mib mac " +
			"created_at changed_at"), e.hosts, e.host},
		{"vm", "disk", columns("id host_id name size_mib boot_order template"), e.hosts, func(n int) []any {
			return []any{n, n, "disk1", 10240 << (mix(n, 6) % 3), 1, "estate"}
		}},
		{"vm", "disk", columns("id host_id name size_mib boot_order"), e.hosts / 10, func(n int) []any {
			return []any{e.hosts + n, 10 * n, "disk2", 102400, 2}
		}},
		{"vm", "host_address", columns("host_id position ip_id addr family prefix mask gateway pool_id network_id interface"), e.hosts, func(n int) []any {
			return []any{n, 0, e.address0 + n, ip4(n), 4, network4.Bits(), "255.192.0.0", network4.Addr().Next().String(), e.pool0 + 1, e.network0 + 1, 0}
		}},
		{"vm", "host_address", columns("host_id position ip_id addr family prefix mask gateway pool_id network_id interface"), e.hosts / 5, func(n int) []any {
			return []any{
				5 * n, 1, e.address0 + e.hosts + n, ip6(5 * n), 6, network6.Bits(), "", network6.Addr().Next().String(),
				e.pool0 + 1, e.network0 + 2, 0,
			}
		}},
		{"vm", "job", columns("id kind key args state attempt account_id created_by created_at started_at finished_at"), e.hosts, func(n int) []any {
			at := e.created(n)
			return []any{
				e.job0 + n, "host_create", fmt.Sprintf("host/%d", n), []byte("{}"), "done", 1, e.account(n), "estate",
				at, at.Add(time.Second), at.Add(30 * time.Second),
			}
		}},
	}
}

func (e *estate) host(n int) []any {
	state, wanted := e.state(n)
	node := e.node(n)
	return []any{
		n, machine(n), e.name(n), "", e.name(n), strings.TrimSuffix(e.name(n), ".example"), state, wanted, e.account(n), e.cluster(node), node, e.os,
		1 + mix(n, 7)%8, 1024 << (mix(n, 8) % 5), mac(n), e.created(n), e.created(n),
	}
}
