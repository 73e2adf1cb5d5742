package store

import (
	"context"
	"time"

	"slipway.dev/services/auth/internal/domain"
)

// CountGuess counts a login as failed before it is known how it ends, so that guesses made at the same time cannot
// slip past the limit. ErrRateLimited: a limit is reached, and nothing was written.
func (s *Store) CountGuess(ctx context.Context, counters []domain.Counter) error {
	window := minutes(domain.LoginWindow)
	return s.Aside(ctx, func(t Tx) error {
		for _, c := range counters {
			tag, err := t.Exec(ctx, `
				INSERT INTO login_failure AS f (key, failures, since) VALUES ($1, 1, now())
				ON CONFLICT (key) DO UPDATE SET
					failures = CASE WHEN f.since < now() - `+window+` THEN 1 ELSE f.failures + 1 END,
					since    = CASE WHEN f.since < now() - `+window+` THEN now() ELSE f.since END
				WHERE f.failures < `+number(c.Limit)+` OR f.since < now() - `+window, c.Key)
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				return t.limited(ctx, c)
			}
		}
		return nil
	})
}

// limited says when the window opens again.
func (t Tx) limited(ctx context.Context, c domain.Counter) error {
	var wait time.Duration
	err := t.QueryRow(ctx, `
		SELECT greatest(since + `+minutes(domain.LoginWindow)+` - now(), interval '1 second') FROM login_failure WHERE key = $1`,
		c.Key).Scan(&wait)
	if err != nil {
		return err
	}
	return domain.ErrRateLimited.After(wait)
}

// ForgetGuesses is for a login that succeeded: the account's count starts anew. The address only gets back this login,
// or somebody with an account of their own could guess without limit.
func (t Tx) ForgetGuesses(ctx context.Context, counters []domain.Counter) error {
	last := len(counters) - 1
	if err := t.ReturnGuess(ctx, counters[:last]); err != nil {
		return err
	}
	_, err := t.Exec(ctx, `DELETE FROM login_failure WHERE key = $1`, counters[last].Key)
	return err
}

// ReturnGuess takes back what CountGuess counted, and no more: for a login that neither failed nor succeeded.
func (t Tx) ReturnGuess(ctx context.Context, counters []domain.Counter) error {
	for _, c := range counters {
		_, err := t.Exec(ctx, `
			UPDATE login_failure SET failures = failures - 1 WHERE key = $1 AND failures > 0`, c.Key)
		if err != nil {
			return err
		}
	}
	return nil
}
