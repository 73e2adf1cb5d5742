//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/node/internal/hyper"
)

const sampled = lv.DOMAIN_STATS_CPU_TOTAL | lv.DOMAIN_STATS_BALLOON | lv.DOMAIN_STATS_VCPU | lv.DOMAIN_STATS_INTERFACE | lv.DOMAIN_STATS_BLOCK

// Usage samples all running domains in one call of libvirt, which does not wait for domains that other calls work on.
func (d *Driver) Usage(ctx context.Context) (out []hyper.Usage, err error) {
	err = d.conn.do(ctx, func(c *lv.Connect) error {
		list, err := c.GetAllDomainStats(nil, sampled, lv.CONNECT_GET_ALL_DOMAINS_STATS_RUNNING|lv.CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
		if err != nil {
			return fmt.Errorf("sample domains: %w", err)
		}
		for _, s := range list {
			if u, ours := d.usage(s); ours {
				out = append(out, u)
			}
			_ = s.Domain.Free() // the connection counts references
		}
		return nil
	})
	return out, err
}

// usage returns false for a domain whose name is not one of our stack, and for one that libvirt could not ask: it says then
// neither the CPU's time nor the memory.
func (d *Driver) usage(s lv.DomainStats) (u hyper.Usage, ours bool) {
	name, err := s.Domain.GetName()
	if err != nil {
		return u, false
	}
	raw, err := s.Domain.GetUUID()
	if err != nil || s.Cpu == nil || !s.Cpu.TimeSet || s.Balloon == nil {
		return u, false
	}
	u.UUID, u.HostID = uuid.UUID(raw), hostOf(name)
	if name != hyper.DomainName(d.cfg.StackID, u.HostID, u.UUID) {
		return u, false
	}
	u.CPU = time.Duration(clamp.Int64(s.Cpu.Time))
	for _, v := range s.Vcpu {
		if v.State != lv.VCPU_OFFLINE {
			u.CPUs++
		}
	}
	u.Memory = memoryUsage(s.Balloon)
	for _, b := range s.Block {
		if name, isDisk := strings.CutSuffix(filepath.Base(b.Path), diskFile("")); isDisk {
			u.Disks = append(u.Disks, hyper.DiskUsage{Name: name, Read: b.RdBytes, Written: b.WrBytes, Reads: b.RdReqs, Writes: b.WrReqs})
		}
	}
	for _, n := range s.Net {
		u.Cards = append(u.Cards, hyper.CardUsage{Received: n.RxBytes, Sent: n.TxBytes, ReceivedPackets: n.RxPkts, SentPackets: n.TxPkts})
	}
	return u, true
}

// memoryUsage returns what the guest's balloon driver says. Without one, the pages that the machine occupies on the node count.
func memoryUsage(b *lv.DomainStatsBalloon) hyper.MemoryUsage {
	kib := func(n uint64) int64 { return clamp.Int64(n) << 10 }
	m := hyper.MemoryUsage{Total: kib(b.Current), Used: min(kib(b.Rss), kib(b.Current))}
	if b.AvailableSet && b.UsableSet && b.Usable <= b.Available {
		m.Used = kib(b.Available - b.Usable)
	}
	return m
}

// hostOf returns the number at the end of a domain's name, or 0.
func hostOf(name string) int32 {
	n, err := strconv.ParseInt(name[strings.LastIndexByte(name, '-')+1:], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}
