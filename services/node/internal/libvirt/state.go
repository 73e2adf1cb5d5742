//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/services/node/internal/hyper"
)

// State returns the state of the machine, of any stack.
func (d *Driver) State(ctx context.Context, id uuid.UUID) (s hyper.State, err error) {
	err = d.conn.do(ctx, func(c *lv.Connect) error {
		dom, err := c.LookupDomainByUUIDString(id.String())
		if is(err, lv.ERR_NO_DOMAIN) {
			s = hyper.State{}
			return nil
		}
		if err != nil {
			return fmt.Errorf("find domain: %w", err)
		}
		defer dom.Free()
		s, err = state(dom)
		if is(err, lv.ERR_NO_DOMAIN) {
			s, err = hyper.State{}, nil
		}
		return err
	})
	return s, err
}

// List returns our machines. It skips a machine that vanishes meanwhile; any other failure is an error.
func (d *Driver) List(ctx context.Context) (out []hyper.Observed, err error) {
	err = d.conn.do(ctx, func(c *lv.Connect) error {
		doms, err := c.ListAllDomains(0)
		if err != nil {
			return fmt.Errorf("list domains: %w", err)
		}
		defer func() {
			for i := range doms {
				_ = doms[i].Free()
			}
		}()
		out = make([]hyper.Observed, 0, len(doms))
		for i := range doms {
			o, ours, err := d.observe(&doms[i])
			if is(err, lv.ERR_NO_DOMAIN) {
				continue
			}
			if err != nil {
				return err
			}
			if ours {
				out = append(out, o)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (d *Driver) observe(dom *lv.Domain) (o hyper.Observed, ours bool, err error) {
	meta, ours, err := d.proof(dom)
	if err != nil || !ours {
		return o, false, err
	}
	raw, err := dom.GetUUID()
	if err != nil {
		return o, false, fmt.Errorf("uuid of domain: %w", err)
	}
	o.UUID, o.Meta = uuid.UUID(raw), meta.meta()
	if o.Name, err = dom.GetName(); err != nil {
		return o, false, fmt.Errorf("name of domain: %w", err)
	}
	o.State, err = state(dom)
	return o, true, err
}

var pausedReasons = map[lv.DomainPausedReason]string{
	lv.DOMAIN_PAUSED_USER: "user", lv.DOMAIN_PAUSED_MIGRATION: "migration", lv.DOMAIN_PAUSED_IOERROR: "ioerror",
	lv.DOMAIN_PAUSED_WATCHDOG: "watchdog", lv.DOMAIN_PAUSED_SNAPSHOT: "snapshot", lv.DOMAIN_PAUSED_CRASHED: "crashed",
	lv.DOMAIN_PAUSED_STARTING_UP: "starting", lv.DOMAIN_PAUSED_SHUTTING_DOWN: "shutting-down",
}

var offReasons = map[lv.DomainShutoffReason]string{
	lv.DOMAIN_SHUTOFF_SHUTDOWN: "shutdown", lv.DOMAIN_SHUTOFF_DESTROYED: "destroyed", lv.DOMAIN_SHUTOFF_CRASHED: "crashed",
	lv.DOMAIN_SHUTOFF_MIGRATED: "migrated", lv.DOMAIN_SHUTOFF_SAVED: "saved", lv.DOMAIN_SHUTOFF_FAILED: "failed",
	lv.DOMAIN_SHUTOFF_DAEMON: "daemon",
}

func state(dom *lv.Domain) (hyper.State, error) {
	s, reason, err := dom.GetState()
	if err != nil {
		return hyper.State{}, fmt.Errorf("domain state: %w", err)
	}
	switch s {
	case lv.DOMAIN_RUNNING, lv.DOMAIN_BLOCKED:
		return hyper.State{Power: hyper.Running, Reason: "running"}, nil
	case lv.DOMAIN_SHUTDOWN: // on its way, and its disks still in use
		return hyper.State{Power: hyper.Running, Reason: "shutting-down"}, nil
	case lv.DOMAIN_PAUSED:
		return hyper.State{Power: hyper.Paused, Reason: pausedReasons[lv.DomainPausedReason(reason)]}, nil
	case lv.DOMAIN_PMSUSPENDED:
		return hyper.State{Power: hyper.Paused, Reason: "suspended"}, nil
	case lv.DOMAIN_CRASHED:
		return hyper.State{Power: hyper.Crashed, Reason: "crashed"}, nil
	case lv.DOMAIN_SHUTOFF:
		r := lv.DomainShutoffReason(reason)
		if r == lv.DOMAIN_SHUTOFF_CRASHED {
			return hyper.State{Power: hyper.Crashed, Reason: "crashed"}, nil
		}
		return hyper.State{Power: hyper.Off, Reason: offReasons[r]}, nil
	}
	return hyper.State{}, fmt.Errorf("domain state %d is not known", s)
}
