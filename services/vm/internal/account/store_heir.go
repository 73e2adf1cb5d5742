package account

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// Leave removes an account that auth has deleted and remembers its heir, which Leave returns: the account that has
// what belonged to this one. An heir that was deleted itself stands for its own heir. 0 is no heir: the event names
// none, and there is no administrator.
//
// From here to the commit the row that counts what the account uses is locked: a create that is under way has charged
// it before, and then its host is there for the caller's next statement, or finds out that the account has left.
func Leave(ctx context.Context, tx *unit.Tx, id, heir int32) (int32, error) {
	heir, err := living(ctx, tx, id, heir)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `
		WITH gone AS (DELETE FROM account WHERE id = $1)
		INSERT INTO account_usage AS u (account_id, left_at, heir) VALUES ($1, now(), nullif($2, 0))
		ON CONFLICT (account_id) DO UPDATE SET left_at = coalesce(u.left_at, now()), heir = excluded.heir,
			max_host_count = NULL, max_cpu_number = NULL, max_ram_mib = NULL, max_hdd_mib = NULL, max_ipv4_number = NULL`, id, heir)
	return heir, err
}

// living returns the account that has what heir would get from the account id.
func living(ctx context.Context, tx *unit.Tx, id, heir int32) (int32, error) {
	err := tx.QueryRow(ctx, `
		WITH RECURSIVE line AS (
			SELECT $2::integer AS id, 0 AS n
			UNION ALL
			SELECT u.heir, n + 1 FROM line JOIN account_usage u ON u.account_id = line.id
			WHERE u.left_at IS NOT NULL AND u.heir IS NOT NULL AND n < 1000)
		SELECT coalesce(
			(SELECT l.id FROM line l WHERE l.id NOT IN (0, $1)
			   AND NOT EXISTS (SELECT FROM account_usage u WHERE u.account_id = l.id AND u.left_at IS NOT NULL)
			 ORDER BY n DESC LIMIT 1),
			(SELECT a.id FROM account a WHERE a.id <> $1 AND a.state = 'active' AND '@admin' = ANY(a.roles) ORDER BY a.id LIMIT 1),
			0)`, id, heir).Scan(&heir)
	return heir, err
}

// Transfer moves a share of what an account uses to another one, whatever the limits of that say.
func Transfer(ctx context.Context, tx *unit.Tx, from, to int32, share Usage) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO account_usage (account_id) VALUES (least($1::integer, $2::integer)), (greatest($1, $2))
		ON CONFLICT (account_id) DO UPDATE SET account_id = excluded.account_id`, from, to) // locks both rows, in one order
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		UPDATE account_usage SET host_count = host_count + s * $3, cpu_number = cpu_number + s * $4, ram_mib = ram_mib + s * $5,
			hdd_mib = hdd_mib + s * $6, ipv4_number = ipv4_number + s * $7
		FROM (VALUES ($1::integer, -1), ($2::integer, 1)) AS v(account, s)
		WHERE account_id = v.account`, from, to, share[0], share[1], share[2], share[3], share[4])
	return err
}

// Give is Transfer for an account that takes the share only if its limits allow that. It names the limit that is in the way.
func Give(ctx context.Context, tx *unit.Tx, from, to int32, share Usage) error {
	if err := Transfer(ctx, tx, from, to, Usage{}); err != nil { // locks both rows
		return err
	}
	if err := Allow(ctx, tx, to, share); err != nil {
		return err
	}
	return Transfer(ctx, tx, from, to, share)
}

// heirOf returns the heir of an account. left is false while the account has not left.
func heirOf(ctx context.Context, db *unit.DB, id int32) (heir int32, left bool, err error) {
	err = db.QueryRow(ctx, `
		SELECT left_at IS NOT NULL, coalesce(heir, 0) FROM account_usage WHERE account_id = $1`, id).Scan(&left, &heir)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	return heir, left, err
}
