package server

import (
	"context"
	"fmt"

	"slipway.dev/services/auth/internal/seal"
	"slipway.dev/services/auth/internal/store"
)

// Reseal seals with the newest master key what an older one has sealed, all or nothing, so that the older can go. The signing
// keys see to themselves.
func (s *Server) Reseal(ctx context.Context, box *seal.Box) error {
	return s.store.InTx(ctx, func(tx store.Tx) error {
		all, err := tx.SealedTOTPs(ctx)
		if err != nil {
			return err
		}
		for _, f := range all {
			if !box.Stale(f.Secret) {
				continue
			}
			plain, err := box.Open(f.Secret, totpOf(f.AccountID))
			if err != nil {
				return fmt.Errorf("the second factor of account %d: %w", f.AccountID, err)
			}
			f.Secret = box.Seal(plain, totpOf(f.AccountID))
			if err := tx.SealTOTP(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
}
