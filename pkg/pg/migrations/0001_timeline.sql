-- +goose Up

-- The histories that this schema was on, by the identifier of the cluster and the timeline. A new one may lack what an
-- earlier one has acknowledged: numbers that were given there must not be given again. settled_at is empty until the
-- service has looked at what is outside of its database.
CREATE TABLE timeline (
    system     bigint      NOT NULL,
    number     bigint      NOT NULL,
    began_at   timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    PRIMARY KEY (system, number)
);
CREATE INDEX timeline_open ON timeline (number) WHERE settled_at IS NULL;

-- Records the history that the server is on. When it is new, all sequences of the schema move on by as much as an
-- asynchronous standby may lack: events and jobs come by the thousand, while some clients take no id of an account, a pool
-- or a network from 1,000,000 on. The function is called on each new connection to a history that a process has not seen
-- yet, before anything else. slipway.timeline_base is what `slipway timeline accept` has set.
-- +goose StatementBegin
CREATE FUNCTION timeline_begin() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO timeline (system, number)
    SELECT system_identifier, coalesce(nullif(current_setting('slipway.timeline_base', true), '')::bigint, 0)
        + ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint
    FROM pg_control_system()
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM setval(c.oid::regclass, least(coalesce(s.last_value, s.start_value) 
        + CASE WHEN s.data_type = 'bigint'::regtype THEN 100000 WHEN to_regclass('job') IS NOT NULL THEN 10000 ELSE 1000 END,
        s.max_value))
    FROM pg_sequences s JOIN pg_class c ON c.relname = s.sequencename AND c.relnamespace = s.schemaname::regnamespace
    WHERE s.schemaname = current_schema() AND c.relkind = 'S' AND has_sequence_privilege(c.oid, 'UPDATE');
    RETURN true;
END $$;
-- +goose StatementEnd

-- The history on which the table is made is that of the installation.
INSERT INTO timeline (system, number, settled_at)
SELECT system_identifier, coalesce(nullif(current_setting('slipway.timeline_base', true), '')::bigint, 0)
    + ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint, now()
FROM pg_control_system();

-- For triggers of the rows that take numbers or addresses: they wait until the history is settled.
-- +goose StatementBegin
CREATE FUNCTION timeline_settled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM timeline WHERE settled_at IS NULL) THEN
        RAISE EXCEPTION 'the database is on a new timeline, and the nodes were not looked at yet' USING ERRCODE = 'cannot_connect_now';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
