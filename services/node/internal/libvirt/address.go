//go:build libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/google/uuid"
	lv "libvirt.org/go/libvirt"

	"slipway.dev/services/node/internal/seed"
)

// Addresses returns the addresses that the guest may have. A running guest may have read an earlier seed, so those that
// its cards are limited to count as well.
func (d *Driver) Addresses(ctx context.Context, id uuid.UUID) (list []netip.Addr, err error) {
	docs, err := seed.Read(d.files.path(id, seedFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("seed of %s: %w", id, err)
	default:
		if list, err = docs.Addresses(); err != nil {
			return nil, fmt.Errorf("seed of %s: %w", id, err)
		}
	}
	err = d.with(ctx, id, func(_ *lv.Connect, dom *domain) error {
		if dom == nil {
			return nil
		}
		for _, g := range dom.meta.Guards {
			n, err := g.nic()
			if err != nil {
				return err
			}
			list = append(list, n.Addresses...)
		}
		return nil
	})
	return list, err
}
