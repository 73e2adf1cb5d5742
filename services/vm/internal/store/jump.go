package store

import (
	"context"

	"slipway.dev/services/vm/internal/domain"
)

// Bounds of a jump: what a node says is believed so far and no farther, for it may be anybody's by now.
const (
	maxFenceJump = 1_000_000_000
	maxIDJump    = 1_000_000
	// ahead is how far beyond the highest number seen the next ones begin: some were given to what is seen nowhere.
	ahead = 10_000
)

// CatchUp moves the numbers on when a machine of this installation carries a higher one than this database ever gave: then
// the database was restored from a backup that is older than the world, and numbers given since must not be given again.
// It does so once an hour at most.
func (s *Store) CatchUp(ctx context.Context, seen []Stranger) (jumped bool, err error) {
	var fence int64
	var host int32
	for _, x := range seen {
		if domain.Judge(x.Evidence) != domain.NoProof {
			fence, host = max(fence, x.Sight.Fence), max(host, x.HostID)
		}
	}
	if fence == 0 && host == 0 {
		return false, nil
	}
	err = s.pool.QueryRow(ctx, `
		WITH known AS (
			SELECT (SELECT last_value FROM job_fence) AS fence, (SELECT last_value FROM host_id_seq) AS host,
			       (SELECT last_value FROM job_id_seq) AS job
		), behind AS (
			UPDATE installation SET jumped_at = now() FROM known
			WHERE (fence < $1 AND $1 - fence < $3 OR host < $2 AND $2 - host < $4)
			  AND (jumped_at IS NULL OR jumped_at < now() - interval '1 hour')
			RETURNING known.fence, known.host, known.job
		), jump AS (
			SELECT setval('job_fence', greatest(fence, $1) + $5), setval('host_id_seq', greatest(host, $2) + $5),
			       setval('job_id_seq', job + $5) FROM behind
		)
		SELECT EXISTS (SELECT FROM jump)`, fence, host, maxFenceJump, maxIDJump, ahead).Scan(&jumped)
	return jumped, err
}
