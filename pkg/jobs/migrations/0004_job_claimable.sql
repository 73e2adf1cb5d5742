-- +goose Up

-- Locks and returns the first jobs that may be claimed. It goes through job_due in its order and stops when it has enough. The
-- planner cannot know that this is best: by its statistics hardly a job is unfinished, so it would sort all that are, for
-- each claim. Hence a function, which has settings of its own.
--
-- Nor does it walk past all jobs of a long queue: it stops after a few that are due, and when too few of those were
-- the first of their keys, it looks up the first job of each key, along job_pending. What a claim costs grows with the
-- number of keys then, not with the number of jobs behind each other. That a job is the first of its key cannot become
-- untrue, so one statement may see it and the next use it; all else is asked again under the lock.
-- +goose StatementBegin
CREATE FUNCTION job_claimable(wanted integer, kinds text[], unknown_after interval)
RETURNS TABLE (picked_id integer, fresh boolean) LANGUAGE plpgsql ROWS 8
SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    looked constant integer := wanted * 4 + 64;
    seen   integer := 0;
    taken  integer[] := '{}';
    c      record;
BEGIN
    FOR c IN
        SELECT j.id, j.key FROM job j
        WHERE j.state IN ('queued', 'running', 'undoing') AND j.run_at <= now()
          AND (j.lease_until IS NULL OR j.lease_until < now())
          AND (j.kind = ANY (kinds) OR j.run_at <= now() - unknown_after)
        ORDER BY j.run_at, j.id
        LIMIT looked
    LOOP
        seen := seen + 1;
        -- Asked so that no index but job_pending will do: that of ids would walk past all finished jobs.
        CONTINUE WHEN c.id <> (
            SELECT e.id FROM job e WHERE e.key >= c.key AND e.state IN ('queued', 'running', 'undoing')
            ORDER BY e.key, e.id LIMIT 1);
        SELECT j.id, j.started_at IS NULL INTO picked_id, fresh FROM job j
        WHERE j.id = c.id AND j.state IN ('queued', 'running', 'undoing') AND j.run_at <= now()
          AND (j.lease_until IS NULL OR j.lease_until < now())
          AND (j.kind = ANY (kinds) OR j.run_at <= now() - unknown_after)
        FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        RETURN NEXT;
        taken := taken || picked_id;
        IF cardinality(taken) = wanted THEN
            RETURN;
        END IF;
    END LOOP;
    IF seen < looked THEN
        RETURN;
    END IF;
    FOR c IN
        WITH RECURSIVE h AS (
            (SELECT j.key, j.id FROM job j WHERE j.state IN ('queued', 'running', 'undoing') ORDER BY j.key, j.id LIMIT 1)
            UNION ALL
            SELECT n.key, n.id FROM h CROSS JOIN LATERAL (
                SELECT j.key, j.id FROM job j
                WHERE j.key > h.key AND j.state IN ('queued', 'running', 'undoing') ORDER BY j.key, j.id LIMIT 1) n
        )
        SELECT j.id FROM h JOIN job j ON j.id = h.id
        WHERE j.state IN ('queued', 'running', 'undoing') AND j.run_at <= now()
          AND (j.lease_until IS NULL OR j.lease_until < now())
          AND (j.kind = ANY (kinds) OR j.run_at <= now() - unknown_after)
        ORDER BY ROW(j.run_at, j.id) -- no index has this order: the few are sorted
    LOOP
        CONTINUE WHEN c.id = ANY (taken);
        SELECT j.id, j.started_at IS NULL INTO picked_id, fresh FROM job j
        WHERE j.id = c.id AND j.state IN ('queued', 'running', 'undoing') AND j.run_at <= now()
          AND (j.lease_until IS NULL OR j.lease_until < now())
          AND (j.kind = ANY (kinds) OR j.run_at <= now() - unknown_after)
        FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        RETURN NEXT;
        taken := taken || picked_id;
        IF cardinality(taken) = wanted THEN
            RETURN;
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd
