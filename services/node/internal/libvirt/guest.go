//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/services/node/internal/hyper"
)

// agentSeconds is how long the agent in a guest may take for an answer.
const agentSeconds = 5

// GuestAddresses asks the agent in the guest.
func (d *Driver) GuestAddresses(ctx context.Context, id uuid.UUID) (list []netip.Addr, err error) {
	err = d.guest(ctx, id, func(dom *domain) error {
		cards, err := dom.ListAllInterfaceAddresses(lv.DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
		if err != nil {
			return err
		}
		list = nil // the call may be repeated
		for _, c := range cards {
			for _, a := range c.Addrs {
				if addr, err := netip.ParseAddr(a.Addr); err == nil && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() {
					list = append(list, addr)
				}
			}
		}
		return nil
	})
	return list, err
}

// SetGuestPassword has the agent in the guest set root's password.
func (d *Driver) SetGuestPassword(ctx context.Context, id uuid.UUID, hash string) error {
	if err := hyper.CheckHash(hash); err != nil {
		return err
	}
	return d.guest(ctx, id, func(dom *domain) error {
		return dom.SetUserPassword("root", hash, lv.DOMAIN_PASSWORD_ENCRYPTED)
	})
}

// guest runs ask on the domain of a running machine, and returns its error as a fault.
func (d *Driver) guest(ctx context.Context, id uuid.UUID, ask func(*domain) error) error {
	return d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if dom == nil {
			return hyper.ErrNoAgent
		}
		active, err := dom.IsActive()
		if err != nil {
			return fmt.Errorf("domain state: %w", err)
		}
		if !active || d.kind == "test" { // libvirt's test driver has no guests
			return hyper.ErrNoAgent
		}
		if err := dom.AgentSetResponseTimeout(agentSeconds, 0); err != nil {
			return silent(err)
		}
		return silent(ask(dom))
	})
}

// silent returns the error of a call to the agent in a guest as a fault, if it is the guest's.
func silent(err error) error {
	for _, code := range []lv.ErrorNumber{
		lv.ERR_AGENT_UNRESPONSIVE, lv.ERR_AGENT_UNSYNCED, lv.ERR_AGENT_COMMAND_TIMEOUT,
		lv.ERR_ARGUMENT_UNSUPPORTED, lv.ERR_CONFIG_UNSUPPORTED, // no channel
		lv.ERR_OPERATION_INVALID, // off meanwhile
	} {
		if is(err, code) {
			return hyper.ErrNoAgent.Wrap(err)
		}
	}
	if is(err, lv.ERR_AGENT_COMMAND_FAILED) || is(err, lv.ERR_INTERNAL_ERROR) {
		return hyper.ErrGuestRefuses.Wrap(err)
	}
	return err
}
