-- +goose Up

-- Locks and returns the first jobs that may be claimed. It goes through job_due in its order and stops when it has enough. The
-- planner cannot know that this is best: by its statistics hardly a job is unfinished, so it would sort all that are, for
-- each claim. Hence a function, which has settings of its own.
-- +goose StatementBegin
CREATE FUNCTION job_claimable(wanted integer, kinds text[], unknown_after interval)
RETURNS TABLE (picked_id integer, fresh boolean) LANGUAGE plpgsql
SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    SELECT j.id, j.started_at IS NULL
    FROM job j
    WHERE j.state IN ('queued', 'running', 'undoing') AND j.run_at <= now()
      AND (j.lease_until IS NULL OR j.lease_until < now())
      AND (j.kind = ANY (kinds) OR j.run_at <= now() - unknown_after)
      AND NOT EXISTS (SELECT FROM job e WHERE e.key = j.key AND e.id < j.id AND e.state IN ('queued', 'running', 'undoing'))
    ORDER BY j.run_at, j.id
    LIMIT wanted
    FOR NO KEY UPDATE OF j SKIP LOCKED;
END $$;
-- +goose StatementEnd
