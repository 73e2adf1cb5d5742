package node

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// checkInstallation compares the installation that a node belongs to with the database's. The first node sets the
// latter.
func checkInstallation(ctx context.Context, tx *unit.Tx, stack string) error {
	if stack == "" {
		return nil
	}
	var id string
	err := tx.QueryRow(ctx, `SELECT id FROM installation`).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = tx.QueryRow(ctx, `
			INSERT INTO installation AS i (id) VALUES ($1) ON CONFLICT (one) DO UPDATE SET id = i.id RETURNING id`, stack).Scan(&id)
	}
	if err == nil && id != stack {
		return ErrOtherInstallation
	}
	return err
}

// Bounds of a jump. A node is believed only so far: other hands may hold it by now.
const (
	maxFenceJump = 1_000_000_000
	maxIDJump    = 1_000_000
	// ahead is how far beyond the highest number seen the next numbers begin: some that were given are seen nowhere.
	ahead = 10_000
)

// CatchUp moves the numbers on when the highest fence or host id that is seen on machines of this installation is
// higher than any that this database gave. Then the database was restored from a backup that is older than the
// machines, and numbers given since must not be given again. It does so once an hour at most. Ids of tasks, which no node
// knows, move by ten times as much as those of hosts.
func CatchUp(ctx context.Context, db *unit.DB, fence int64, host int32) (jumped bool, err error) {
	err = db.QueryRow(ctx, `
		WITH known AS (
			SELECT (SELECT last_value FROM job_fence) AS fence, (SELECT last_value FROM host_id_seq) AS host
		), behind AS (
			UPDATE installation SET jumped_at = now() FROM known
			WHERE (fence < $1 AND $1 - fence < $3 OR host < $2 AND $2 - host < $4)
			  AND (jumped_at IS NULL OR jumped_at < now() - interval '1 hour')
			RETURNING known.host
		), jump AS ( -- with the row of the installation locked: the sequences are read again
			SELECT setval('job_id_seq', (SELECT last_value FROM job_id_seq) + $5 + 10 * greatest(0, $2 - host)),
			       setval('job_fence', greatest((SELECT last_value FROM job_fence), $1) + $5),
			       setval('host_id_seq', greatest((SELECT last_value FROM host_id_seq), $2) + $5) FROM behind
		)
		SELECT EXISTS (SELECT FROM jump)`, fence, host, maxFenceJump, maxIDJump, ahead).Scan(&jumped)
	return jumped, err
}

// MoveOn is CatchUp for a new history of the data, which may lack what an earlier one has given: it does not matter when
// numbers last moved. It waits for a CatchUp that moves them at the same time, and sets no sequence that need not move.
func MoveOn(ctx context.Context, db *unit.DB, fence int64, host int32) error {
	_, err := db.Exec(ctx, `
		WITH locked AS MATERIALIZED (
			SELECT id FROM installation FOR UPDATE
		), known AS MATERIALIZED (
			SELECT (SELECT last_value FROM job_fence) AS fence, (SELECT last_value FROM host_id_seq) AS host,
			       (SELECT last_value FROM job_id_seq) AS job FROM (SELECT count(*) FROM locked) first
		), seen AS (
			SELECT fence, host, job, CASE WHEN $1 - fence BETWEEN 0 AND $3 THEN $1 - fence + $5 ELSE 0 END AS fences,
			       CASE WHEN $2::bigint - host BETWEEN 0 AND $4 THEN $2::bigint - host + $5 ELSE 0 END AS hosts
			FROM known
		)
		SELECT CASE WHEN fences > 0 THEN setval('job_fence', fence + fences) END,
		       CASE WHEN hosts > 0 THEN setval('host_id_seq', host + hosts) END,
		       CASE WHEN hosts > 0 THEN setval('job_id_seq', job + 10 * hosts) END
		FROM seen`, fence, host, maxFenceJump, maxIDJump, ahead)
	return err
}
