package mfa

import (
	"context"
	"fmt"

	"slipway.dev/pkg/unit"
)

// Reseal seals with the newest master key what an older one has sealed, all or nothing, so that the older key can be
// removed.
func (s *MFA) Reseal(ctx context.Context) error {
	return s.db.InTx(ctx, func(tx *unit.Tx) error {
		all, err := sealedSecrets(ctx, tx)
		if err != nil {
			return err
		}
		for _, f := range all {
			if !s.box.Stale(f.Secret) {
				continue
			}
			plain, err := s.box.Open(f.Secret, place(f.AccountID))
			if err != nil {
				return fmt.Errorf("the second factor of account %d: %w", f.AccountID, err)
			}
			f.Secret = s.box.Seal(plain, place(f.AccountID))
			if err := setSealed(ctx, tx, f); err != nil {
				return err
			}
		}
		return nil
	})
}
