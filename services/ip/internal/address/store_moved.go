package address

import (
	"context"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/unit"
)

// HostMoved books the addresses of a host for the account that the host got. A second delivery changes nothing.
func HostMoved(ctx context.Context, tx *unit.Tx, h *vmpb.HostChanged) error {
	_, err := tx.Exec(ctx, `UPDATE address SET account_id = $2 WHERE owner = $1::uuid AND account_id IS DISTINCT FROM $2`,
		h.GetUuid(), h.GetAccountId())
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		UPDATE address_history SET account_id = $2
		WHERE owner = $1::uuid AND released_at IS NULL AND address_id IN (SELECT id FROM address WHERE owner = $1::uuid)`,
		h.GetUuid(), h.GetAccountId())
	return err
}
