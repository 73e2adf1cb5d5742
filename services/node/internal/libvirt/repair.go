//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/services/node/internal/bridge"
	"slipway.dev/services/node/internal/hyper"
)

// loadCards makes the bridges have what the machines need by their definitions, before the first command.
func (d *Driver) loadCards(ctx context.Context) error {
	if d.bridges == nil {
		return nil
	}
	cards := map[uuid.UUID][]hyper.NIC{}
	err := d.conn.do(ctx, func(c *lv.Connect) error {
		doms, err := c.ListAllDomains(0)
		if err != nil {
			return fmt.Errorf("list domains: %w", err)
		}
		defer func() {
			for i := range doms {
				_ = doms[i].Free()
			}
		}()
		for i := range doms {
			meta, ours, err := d.proof(&doms[i])
			if is(err, lv.ERR_NO_DOMAIN) || err == nil && !ours {
				continue
			}
			if err != nil {
				return err
			}
			raw, err := doms[i].GetUUID()
			if err != nil {
				return fmt.Errorf("uuid of domain: %w", err)
			}
			if cards[uuid.UUID(raw)], err = meta.nics(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.bridges.Load(cards)
}

// Repair puts back what other programs took from the networks and from the guards of running machines. It leaves a
// machine that a command works on for the next call.
func (d *Driver) Repair(ctx context.Context) (hyper.Repairs, error) {
	if err := ctx.Err(); err != nil || d.bridges == nil {
		return nil, err
	}
	done, err := d.bridges.Repair()
	seen, errLook := d.bridges.Guards()
	list, errList := d.List(ctx)
	if err := errors.Join(errLook, errList); err != nil {
		return done, errors.Join(err, errList)
	}
	errs := []error{err}
	for _, o := range list {
		if o.State.Power != hyper.Running && o.State.Power != hyper.Paused {
			continue
		}
		r, err := d.mend(ctx, o.UUID, seen)
		done.Add(r)
		errs = append(errs, err)
	}
	return done, errors.Join(errs...)
}

// mend plugs the cards of a running machine in again, and puts back their guards.
func (d *Driver) mend(ctx context.Context, id uuid.UUID, seen *bridge.Guards) (done hyper.Repairs, err error) {
	done = hyper.Repairs{}
	unlock, free := d.locks.try(id)
	if !free {
		return done, nil
	}
	defer unlock()
	err = d.conn.do(ctx, func(c *lv.Connect) error {
		dom, err := c.LookupDomainByUUIDString(id.String())
		if is(err, lv.ERR_NO_DOMAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find domain: %w", err)
		}
		defer dom.Free()
		active, err := dom.IsActive()
		if err != nil || !active {
			return err
		}
		meta, ours, err := d.proof(dom)
		if err != nil || !ours {
			return err
		}
		return d.mendCards(id, meta, seen, done)
	})
	return done, err
}

func (d *Driver) mendCards(id uuid.UUID, m metadata, seen *bridge.Guards, done hyper.Repairs) error {
	for i, name := range m.Bridges {
		plugged, err := d.bridges.Plug(hyper.TapName(d.cfg.StackID, id, i), name)
		if err != nil {
			return err
		}
		if plugged {
			done["port"]++
		}
	}
	for _, g := range m.Guards {
		nic, err := g.nic()
		if err != nil {
			return fmt.Errorf("read guard: %w", err)
		}
		mended, err := d.bridges.Mend(seen, g.Tap, nic)
		if err != nil {
			return err
		}
		if mended {
			done["guard"]++
		}
	}
	shaped, err := d.shape(id, m)
	if shaped > 0 {
		done["limit"] += shaped
	}
	return err
}
