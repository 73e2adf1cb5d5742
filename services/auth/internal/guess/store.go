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
	place    []byte // the account at the client's address; nil if the address is not known
}

// Count counts a login as failed before it is known how it ends, so that guesses made at the same time cannot
// slip past the limit. A login from an address where the account has logged in before does not count against the
// account elsewhere, so that others cannot keep the owner out by guessing. ErrLimited: a limit is reached, and nothing
// was written.
func Count(ctx context.Context, db *unit.DB, email, clientIP string) (Guess, error) {
	g := Guess{db, counters(email, clientIP), place(email, clientIP)}
	return g, db.Aside(ctx, func(tx *unit.Tx) error {
		var known bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM login_place WHERE key = $1)`, g.place).Scan(&known); err != nil {
			return err
		}
		if known {
			g.counters = g.counters[:len(g.counters)-1]
		}
		for _, c := range g.counters {
			tag, err := tx.Exec(ctx, `
				INSERT INTO login_failure AS f (key, failures, since) VALUES ($1, 1, now())
				ON CONFLICT (key) DO UPDATE SET
					failures = CASE WHEN f.since < now() - `+window+` THEN 1 ELSE f.failures + 1 END,
					since    = CASE WHEN f.since < now() - `+window+` THEN now() ELSE f.since END,
					last     = now()
				WHERE f.failures < `+c.limit.Number()+` OR `+c.opens()+` <= now()`, c.key)
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

// window is SQL for the time in which failed logins are counted together.
var window = setting.LoginWindow.Minutes()

// opens returns SQL for when a counter f that has reached its limit lets the next login through.
func (c counter) opens() string {
	if !c.slow {
		return "f.since + " + window
	}
	beyond := "least(f.failures - " + c.limit.Number() + ", 10)"
	return "least(f.since + " + window + ", f.last + least(" + firstDelay + " * 2 ^ " + beyond + ", " + greatestDelay + "))"
}

// limited returns ErrLimited with the time until the counter lets a login through.
func limited(ctx context.Context, tx *unit.Tx, c counter) error {
	var wait time.Duration
	err := tx.QueryRow(ctx, `
		SELECT greatest(`+c.opens()+` - now(), interval '1 second') FROM login_failure f WHERE key = $1`,
		c.key).Scan(&wait)
	if err != nil {
		return err
	}
	return ErrLimited.After(wait)
}

// Forget is for a login that succeeded: the counts of the account start anew, and the address becomes one where it has
// logged in. The address only gets back this login, or a client with an account of its own could guess without limit.
func (g Guess) Forget(ctx context.Context, tx *unit.Tx) error {
	for _, c := range g.counters {
		if c.limit == setting.LoginAttemptsAddress {
			if err := takeBack(ctx, tx, []counter{c}); err != nil {
				return err
			}
		} else if _, err := tx.Exec(ctx, `DELETE FROM login_failure WHERE key = $1`, c.key); err != nil {
			return err
		}
	}
	if g.place == nil {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO login_place AS p (key) VALUES ($1)
		ON CONFLICT (key) DO UPDATE SET seen = now() WHERE p.seen < now() - interval '1 day'`, g.place)
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

// Clean removes counters that no longer count, and addresses from which an account has not logged in for long.
func Clean(ctx context.Context, db *unit.DB) error {
	if _, err := db.Exec(ctx, `DELETE FROM login_failure WHERE since < now() - `+window); err != nil {
		return err
	}
	_, err := db.Exec(ctx, `DELETE FROM login_place WHERE seen < now() - interval '90 days'`)
	return err
}
