package guess

import (
	"context"
	"errors"
	"time"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/setting"
)

// Guess is a login that is counted as failed until it is known how the login ends.
type Guess struct {
	db       *unit.DB
	counters []counter
}

// Count counts a login as failed before it is known how it ends, so that guesses made at the same time cannot
// slip past the limit. ErrLimited: a limit is reached, and nothing was written.
func Count(ctx context.Context, db *unit.DB, email, clientIP string) (Guess, error) {
	g := Guess{db, counters(email, clientIP)}
	window := setting.LoginWindow.Minutes()
	return g, db.Aside(ctx, func(tx *unit.Tx) error {
		for _, c := range g.counters {
			tag, err := tx.Exec(ctx, `
				INSERT INTO login_failure AS f (key, failures, since) VALUES ($1, 1, now())
				ON CONFLICT (key) DO UPDATE SET
					failures = CASE WHEN f.since < now() - `+window+` THEN 1 ELSE f.failures + 1 END,
					since    = CASE WHEN f.since < now() - `+window+` THEN now() ELSE f.since END
				WHERE f.failures < `+c.limit.Number()+` OR f.since < now() - `+window, c.key)
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				return limited(ctx, tx, c)
			}
		}
		return nil
	})
}

// limited returns ErrLimited with the time until the window opens again.
func limited(ctx context.Context, tx *unit.Tx, c counter) error {
	var wait time.Duration
	err := tx.QueryRow(ctx, `
		SELECT greatest(since + `+setting.LoginWindow.Minutes()+` - now(), interval '1 second') FROM login_failure WHERE key = $1`,
		c.key).Scan(&wait)
	if err != nil {
		return err
	}
	return ErrLimited.After(wait)
}

// Forget is for a login that succeeded: the account's count starts anew. The address only gets back this login,
// or a client with an account of its own could guess without limit.
func (g Guess) Forget(ctx context.Context, tx *unit.Tx) error {
	last := len(g.counters) - 1
	if err := takeBack(ctx, tx, g.counters[:last]); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM login_failure WHERE key = $1`, g.counters[last].key)
	return err
}

// Return takes back what Count counted, and no more, where the answer to the client is err and its secret was not
// wrong. It returns err.
func (g Guess) Return(ctx context.Context, err error) error {
	if back := g.db.Aside(ctx, func(tx *unit.Tx) error { return takeBack(ctx, tx, g.counters) }); back != nil {
		return errors.Join(err, back)
	}
	return err
}

func takeBack(ctx context.Context, tx *unit.Tx, list []counter) error {
	for _, c := range list {
		_, err := tx.Exec(ctx, `
			UPDATE login_failure SET failures = failures - 1 WHERE key = $1 AND failures > 0`, c.key)
		if err != nil {
			return err
		}
	}
	return nil
}

// Clean removes counters that no longer count.
func Clean(ctx context.Context, db *unit.DB) error {
	_, err := db.Exec(ctx, `DELETE FROM login_failure WHERE since < now() - `+setting.LoginWindow.Minutes())
	return err
}
