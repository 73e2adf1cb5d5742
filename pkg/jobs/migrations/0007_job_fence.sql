-- +goose Up

-- Returns the number of the next lease. Its upper bits are the timeline of the database (as in pkg/fence): a server that a
-- failover left behind goes on with numbers below all those of the server that took over. slipway.timeline_base is set by
-- `slipway timeline accept`. The sequence itself moves, so a program of an earlier version, which asks the sequence, gets
-- the same kind of numbers.
-- +goose StatementBegin
CREATE FUNCTION job_next_fence() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    timeline constant bigint := coalesce(nullif(current_setting('slipway.timeline_base', true), '')::bigint, 0)
        + ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
    number bigint := nextval('job_fence');
BEGIN
    IF number >> 40 >= timeline THEN
        RETURN number;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || ' job_fence', 0));
    SELECT last_value INTO number FROM job_fence; -- another transaction may have moved it
    IF number >> 40 < timeline THEN
        PERFORM setval('job_fence', timeline << 40);
    END IF;
    RETURN nextval('job_fence');
END $$;
-- +goose StatementEnd
