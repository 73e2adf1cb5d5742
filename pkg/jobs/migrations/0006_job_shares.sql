-- +goose Up
ALTER TABLE job ADD COLUMN node_id integer; -- the node that the job works on

-- The queues, one for each account on each node: a claim passes over those that have their share without reading them.
CREATE INDEX job_queue ON job (coalesce(account_id, 0), coalesce(node_id, 0), run_at, id)
    WHERE state IN ('queued', 'running', 'undoing');
DROP INDEX job_due; -- job_claimable, of the version before, works without the index

-- How many more workers an account may have on a node. accounts, nodes and pairs have an element for each busy worker;
-- most are the bounds of an account, a node, and an account on one node. Nothing is claimed of a node that is shut, and
-- one job of a node that is probed. Account 0 and node 0 are none and have no bound.
-- +goose StatementBegin
CREATE FUNCTION job_room(account integer, node integer, accounts integer[], nodes integer[], pairs bigint[],
    most integer[], shut integer[], probed integer[])
RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT least(
        CASE WHEN account > 0 THEN most[1] - cardinality(array_positions(accounts, account)) END,
        CASE WHEN node > 0 THEN most[2] - cardinality(array_positions(nodes, node)) END,
        CASE WHEN account > 0 AND node > 0
            THEN most[3] - cardinality(array_positions(pairs, account::bigint << 32 | node)) END,
        CASE WHEN node = ANY (shut) THEN 0 WHEN node = ANY (probed) THEN 1 END,
        2147483647)
$$;
-- +goose StatementEnd

-- Locks and returns up to wanted jobs, the first of their keys. Accounts take turns, from the one after served on; in a turn
-- an account gets half of what is wanted at most, and as much as it has room for. The nodes of an account come in the
-- order of their ids, from a random one on; on a node its oldest jobs come first.
--
-- The walk goes from queue to queue by job_queue, so what it costs grows with the number of queues that it meets until
-- there is enough, and not with the jobs in them. Of one queue it reads a few due jobs. When too few of those were the
-- first of their keys, it looks up the first job of each key, along job_pending. That a job is the first of its key
-- cannot become untrue, so one statement may see it and the next use it; all else is asked again under the lock.
--
-- The planner cannot know that this is best: by its statistics hardly a job is unfinished, so it would sort all that are,
-- for each claim. Hence a function, which has settings of its own.
-- +goose StatementBegin
CREATE FUNCTION job_claim(wanted integer, kinds text[], unknown_after interval, served integer, pivot integer,
    accounts integer[], nodes integer[], pairs bigint[], most integer[], shut integer[], probed integer[])
RETURNS TABLE (picked_id integer, fresh boolean, turn integer) LANGUAGE plpgsql ROWS 8
SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    looked  constant integer := wanted * 4 + 64;
    quantum constant integer := greatest(1, wanted / 2);
    taken   integer[] := '{}';
    account integer := served;
    wrapped boolean := false; -- the round goes on at the lowest account
    more    boolean := false; -- an account had to stop: another round may find more
    deep    boolean := false; -- a queue has too many jobs that are not the first of their keys
    node    integer;
    following integer;
    behind  integer; -- the nodes with higher ids come first
    turned  boolean;
    quota   integer;
    room    integer;
    seen    integer;
    acc     record;
    c       record;
BEGIN
    turn := 0;
    LOOP
        SELECT coalesce(j.account_id, 0) AS id, coalesce(j.node_id, 0) AS lowest, (
            SELECT coalesce(h.node_id, 0) FROM job h
            WHERE h.state IN ('queued', 'running', 'undoing') AND coalesce(h.account_id, 0) = coalesce(j.account_id, 0)
            ORDER BY coalesce(h.account_id, 0) DESC, coalesce(h.node_id, 0) DESC LIMIT 1) AS highest
        INTO acc FROM job j
        WHERE j.state IN ('queued', 'running', 'undoing') AND coalesce(j.account_id, 0) > account
        ORDER BY coalesce(j.account_id, 0), coalesce(j.node_id, 0) LIMIT 1;
        IF NOT FOUND OR wrapped AND acc.id > served THEN
            EXIT WHEN wrapped AND NOT more;
            account := CASE WHEN wrapped THEN served ELSE -1 END;
            more := more AND NOT wrapped;
            wrapped := NOT wrapped;
            CONTINUE;
        END IF;
        account := acc.id;
        quota := least(quantum, job_room(account, 0, accounts, nodes, pairs, most, shut, probed));
        CONTINUE WHEN quota <= 0;
        behind := acc.lowest - 1 + pivot % (acc.highest - acc.lowest + 1);
        node := behind;
        turned := behind < acc.lowest;
        LOOP
            IF acc.lowest = acc.highest THEN
                EXIT WHEN node = acc.highest;
                node := acc.highest;
            ELSE
                SELECT coalesce(j.node_id, 0) INTO following FROM job j
                WHERE j.state IN ('queued', 'running', 'undoing')
                  AND coalesce(j.account_id, 0) = account AND coalesce(j.node_id, 0) > node
                ORDER BY coalesce(j.account_id, 0), coalesce(j.node_id, 0) LIMIT 1;
                IF NOT FOUND OR turned AND behind >= acc.lowest AND following > behind THEN
                    EXIT WHEN turned;
                    node := acc.lowest - 1;
                    turned := true;
                    CONTINUE;
                END IF;
                node := following;
            END IF;
            room := least(quota, job_room(account, node, accounts, nodes, pairs, most, shut, probed));
            CONTINUE WHEN room <= 0;
            seen := 0;
            FOR c IN
                SELECT j.id, j.key FROM job j
                WHERE j.state IN ('queued', 'running', 'undoing') AND coalesce(j.account_id, 0) = account
                  AND coalesce(j.node_id, 0) = node AND j.run_at <= now()
                  AND (j.lease_until IS NULL OR j.lease_until < now())
                  AND (j.kind = ANY (kinds) OR j.run_at <= now() - unknown_after)
                ORDER BY coalesce(j.account_id, 0), coalesce(j.node_id, 0), j.run_at, j.id
                LIMIT looked
            LOOP
                seen := seen + 1;
                CONTINUE WHEN c.id = ANY (taken);
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
                turn := turn + 1;
                RETURN NEXT;
                IF turn = wanted THEN
                    RETURN;
                END IF;
                taken := taken || picked_id;
                accounts := accounts || account;
                nodes := nodes || node;
                pairs := pairs || (account::bigint << 32 | node);
                IF node = ANY (probed) THEN
                    probed := array_remove(probed, node);
                    shut := shut || node;
                END IF;
                quota := quota - 1;
                room := room - 1;
                IF room = 0 THEN
                    more := true;
                    EXIT;
                END IF;
            END LOOP;
            deep := deep OR seen = looked AND room > 0;
            EXIT WHEN quota = 0;
        END LOOP;
    END LOOP;
    IF NOT deep THEN
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
        SELECT j.id, coalesce(j.account_id, 0) AS account, coalesce(j.node_id, 0) AS node FROM h JOIN job j ON j.id = h.id
        WHERE j.state IN ('queued', 'running', 'undoing') AND j.run_at <= now()
          AND (j.lease_until IS NULL OR j.lease_until < now())
          AND (j.kind = ANY (kinds) OR j.run_at <= now() - unknown_after)
        ORDER BY ROW(j.run_at, j.id) -- no index has this order: the few are sorted
    LOOP
        CONTINUE WHEN c.id = ANY (taken)
            OR job_room(c.account, c.node, accounts, nodes, pairs, most, shut, probed) <= 0;
        SELECT j.id, j.started_at IS NULL INTO picked_id, fresh FROM job j
        WHERE j.id = c.id AND j.state IN ('queued', 'running', 'undoing') AND j.run_at <= now()
          AND (j.lease_until IS NULL OR j.lease_until < now())
          AND (j.kind = ANY (kinds) OR j.run_at <= now() - unknown_after)
        FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        turn := turn + 1;
        RETURN NEXT;
        IF turn = wanted THEN
            RETURN;
        END IF;
        accounts := accounts || c.account;
        nodes := nodes || c.node;
        pairs := pairs || (c.account::bigint << 32 | c.node);
        IF c.node = ANY (probed) THEN
            probed := array_remove(probed, c.node);
            shut := shut || c.node;
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd
