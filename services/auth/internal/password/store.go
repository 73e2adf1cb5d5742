package password

import (
	"context"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/setting"
)

// minLength reads how many characters a new password must have.
func minLength(ctx context.Context, db *unit.DB) (n int, err error) {
	err = db.QueryRow(ctx, `SELECT `+setting.PasswordMinLength.Number()).Scan(&n)
	return n, err
}
