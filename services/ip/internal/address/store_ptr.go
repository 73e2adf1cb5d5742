package address

import (
	"context"
	"errors"
	"net/netip"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/rdns"
)

// setPTR sets the name that an address resolves to, and returns the number of the change. The address must be in use,
// and by owner unless that is empty. ptrState is what is known of the name from now on.
func setPTR(ctx context.Context, tx *unit.Tx, id int32, owner, name, ptrState string) (serial int32, err error) {
	var ip netip.Addr
	var state, has string
	err = tx.QueryRow(ctx, `
		SELECT ip, state, coalesce(owner::text, '') FROM address WHERE id = $1 FOR UPDATE`, id).Scan(&ip, &state, &has)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, missing(id)
	case err != nil:
		return 0, err
	case owner != "" && has != owner:
		return 0, errNotOwner.With("the address %s now has another owner", ip)
	case state == stateFree, state == stateQuarantined:
		return 0, errNotOwner.With("the address %s has no owner", ip)
	}
	err = tx.QueryRow(ctx, `
		UPDATE address SET domain = $2, ptr_serial = ptr_serial + 1 WHERE id = $1 RETURNING ptr_serial`, id, name).Scan(&serial)
	if err != nil {
		return 0, err
	}
	if err := rdns.Set(ctx, tx, ip, name); err != nil {
		return 0, err
	}
	return serial, emit(ctx, tx, "ip.v3.address.named", ip, &ippb.AddressNamed{Id: id, IpAddr: ip.String(), Domain: name, Serial: serial, State: ptrState})
}
