package work

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/domain"
)

// grace is how long a guest may take to shut down before its power is cut.
const grace = 60 * time.Second

// confirmAddress may run twice: confirming what is confirmed succeeds. A host without addresses has nothing to confirm. It names
// the key of the first addresses: what is reserved beside them is for another job to confirm, or lapses.
func (w *Worker) confirmAddress(ctx context.Context, run *jobs.Run, a Host) error {
	b, err := w.build(ctx, run, a)
	if err != nil || len(b.Addresses) == 0 {
		return err
	}
	_, err = w.ip.Confirm(ctx, &ippb.ConfirmRequest{Owner: a.UUID, Key: a.UUID})
	return err
}

// releaseAddress may run twice: releasing what is not held succeeds.
func (w *Worker) releaseAddress(ctx context.Context, _ *jobs.Run, a Host) error {
	_, err := w.ip.Release(ctx, &ippb.ReleaseRequest{Owner: a.UUID})
	return err
}

// ensureNetwork may run twice: the agent adds what the bridge lacks.
func (w *Worker) ensureNetwork(ctx context.Context, run *jobs.Run, a Host) error {
	b, agent, err := w.buildOn(ctx, run, a)
	if err != nil {
		return err
	}
	req := &nodepb.EnsureNetworkRequest{Name: b.Bridge}
	for _, x := range b.Addresses {
		gateway, err := netip.ParseAddr(x.Gateway)
		if err != nil {
			continue // a network without a gateway of its own needs none on the bridge
		}
		p := netip.PrefixFrom(gateway, int(x.Prefix))
		req.Addresses = append(req.Addresses, p.String())
		// A private network is unknown outside: its guests speak with the node's address there.
		if gateway.IsPrivate() {
			req.Nat = append(req.Nat, p.Masked().String())
		}
	}
	_, err = agent.EnsureNetwork(ctx, req)
	return err
}

// ensureDisks may run twice: a disk that is there is left alone.
func (w *Worker) ensureDisks(ctx context.Context, run *jobs.Run, a Host) error {
	b, agent, err := w.buildOn(ctx, run, a)
	if err != nil {
		return err
	}
	for _, d := range disks(b) {
		if _, err := agent.EnsureDisk(ctx, &nodepb.EnsureDiskRequest{Command: command(run, a), Disk: d}); err != nil {
			return fmt.Errorf("disk %s: %w", d.GetName(), err)
		}
	}
	return nil
}

// ensureSeed may run twice: the seed is written anew from the same data.
func (w *Worker) ensureSeed(ctx context.Context, run *jobs.Run, a Host) error {
	b, agent, err := w.buildOn(ctx, run, a)
	if err != nil {
		return err
	}
	return writeSeed(ctx, agent, command(run, a), b)
}

func writeSeed(ctx context.Context, agent nodepb.NodeServiceClient, c *nodepb.Command, b *build) error {
	_, err := agent.EnsureSeed(ctx, &nodepb.EnsureSeedRequest{
		Command: c, Hostname: b.Hostname, Fqdn: b.Domain, PasswordHash: b.PasswordHash,
		SshKeys: b.SSHKeys, Links: links(b), Dns: nameServers(b),
	})
	return err
}

// nameServers are those of the addresses' networks, and where these have none the cluster's or the node's.
func nameServers(b *build) []string {
	var list []string
	for _, a := range b.Addresses {
		for _, d := range a.DNS {
			if !slices.Contains(list, d) {
				list = append(list, d)
			}
		}
	}
	if len(list) == 0 {
		return b.DNS
	}
	return list
}

// define may run twice: the agent redefines.
func (w *Worker) define(ctx context.Context, run *jobs.Run, a Host) error {
	b, agent, err := w.buildOn(ctx, run, a)
	if err != nil {
		return err
	}
	return defineOn(ctx, agent, command(run, a), b)
}

func defineOn(ctx context.Context, agent nodepb.NodeServiceClient, c *nodepb.Command, b *build) error {
	_, err := agent.DefineMachine(ctx, &nodepb.DefineMachineRequest{
		Command: c, Title: b.Name, CpuNumber: b.CPUs, RamMib: b.RAM,
		Disks: disks(b), Links: links(b), HostId: b.ID,
	})
	return err
}

// start may run twice: starting a running machine succeeds.
func (w *Worker) start(ctx context.Context, run *jobs.Run, a Host) error {
	_, agent, err := w.buildOn(ctx, run, a)
	if err != nil {
		return err
	}
	_, err = agent.StartMachine(ctx, &nodepb.StartMachineRequest{Command: command(run, a)})
	return err
}

// stop may run twice: stopping a stopped machine succeeds.
func (w *Worker) stop(ctx context.Context, run *jobs.Run, a Host) error {
	_, agent, err := w.buildOn(ctx, run, a)
	if err != nil {
		return err
	}
	_, err = agent.StopMachine(ctx, &nodepb.StopMachineRequest{
		Command: command(run, a), Force: a.Force, GraceSeconds: int32(grace.Seconds()),
	})
	return err
}

// removeMachine may run twice: removing what is not there succeeds. When vm has no row of the host any more, it is gone.
func (w *Worker) removeMachine(ctx context.Context, run *jobs.Run, a Host) error {
	_, agent, err := w.buildOn(ctx, run, a)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = agent.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{Command: command(run, a)})
	return err
}

// createFailed removes the host, of which nothing is left, unless a delete that waits will.
func (w *Worker) createFailed(ctx context.Context, tx pgx.Tx, run *jobs.Run, a Host, _ *fault.Fault) error {
	t := w.store.In(tx)
	h, err := t.Host(ctx, a.ID, 0)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil || h.State == domain.Deleting {
		return err
	}
	if err := t.Bury(ctx, a.ID, run.Fence()); err != nil {
		return err
	}
	if err := t.DeleteHost(ctx, a.ID); err != nil {
		return err
	}
	return Tell(ctx, t, h, "failed")
}

// deleted removes the host's rows.
func (w *Worker) deleted(ctx context.Context, tx pgx.Tx, run *jobs.Run, a Host) error {
	t := w.store.In(tx)
	h, err := t.Host(ctx, a.ID, 0)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.Bury(ctx, a.ID, run.Fence()); err != nil {
		return err
	}
	if err := t.DeleteHost(ctx, a.ID); err != nil {
		return err
	}
	return Tell(ctx, t, h, "deleted")
}

func disks(b *build) []*nodepb.Disk {
	list := make([]*nodepb.Disk, len(b.Disks))
	for i, d := range b.Disks {
		list[i] = &nodepb.Disk{Name: d.Name, SizeMib: d.SizeMiB, Template: d.Template}
	}
	return list
}

// links is the host's one card with all its addresses, and the first gateway of each family.
func links(b *build) []*nodepb.Link {
	l := &nodepb.Link{Mac: b.MAC.String(), Network: b.Bridge, AntiSpoofing: b.AntiSpoofing}
	routed := map[int32]bool{}
	for _, a := range b.Addresses {
		l.Addresses = append(l.Addresses, fmt.Sprintf("%s/%d", a.Addr, a.Prefix))
		if a.Gateway != "" && !routed[a.Family] {
			l.Gateways = append(l.Gateways, a.Gateway)
			routed[a.Family] = true
		}
	}
	return []*nodepb.Link{l}
}
