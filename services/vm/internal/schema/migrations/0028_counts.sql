-- +goose Up

-- How many hosts there are of each kind, and of each kind of an account: what was folded, and the changes since, which are
-- rows of their own, so that no two units of work wait for each other. The leader of vm folds them every second. The views
-- are the exact numbers at any moment.
LOCK TABLE host IN SHARE ROW EXCLUSIVE MODE; -- whoever waits for the lock meets the new trigger
ALTER TABLE host_count RENAME TO host_total;
CREATE TABLE host_share (
    account_id integer NOT NULL,
    cluster_id integer NOT NULL,
    state      text    NOT NULL,
    n          bigint  NOT NULL,
    PRIMARY KEY (account_id, cluster_id, state)
);
CREATE INDEX host_share_none ON host_share (account_id) WHERE n = 0;
CREATE TABLE host_change (
    account_id integer NOT NULL,
    cluster_id integer NOT NULL,
    state      text    NOT NULL,
    n          bigint  NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

INSERT INTO host_share SELECT account_id, cluster_id, state, count(*) FROM host GROUP BY 1, 2, 3;
DELETE FROM host_total;
INSERT INTO host_total SELECT cluster_id, state, sum(n) FROM host_share GROUP BY 1, 2;
ALTER TABLE host_total ADD PRIMARY KEY (cluster_id, state);

-- The version before reads host_count, too; its folding fails, and nothing depends on that.
CREATE VIEW host_count AS
    SELECT cluster_id, state, n FROM host_total UNION ALL SELECT cluster_id, state, n FROM host_change;
CREATE VIEW host_count_of AS
    SELECT account_id, cluster_id, state, n FROM host_share UNION ALL SELECT account_id, cluster_id, state, n FROM host_change;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION count_hosts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_OP
    WHEN 'INSERT' THEN
        INSERT INTO host_change SELECT account_id, cluster_id, state, count(*) FROM now GROUP BY 1, 2, 3;
    WHEN 'DELETE' THEN
        INSERT INTO host_change SELECT account_id, cluster_id, state, -count(*) FROM was GROUP BY 1, 2, 3;
    ELSE
        INSERT INTO host_change
        SELECT account_id, cluster_id, state, sum(n) FROM (
            SELECT account_id, cluster_id, state, 1 AS n FROM now UNION ALL SELECT account_id, cluster_id, state, -1 FROM was) v
        GROUP BY 1, 2, 3 HAVING sum(n) <> 0;
    END CASE;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- What an account filters its own hosts by.
CREATE INDEX host_account_state ON host (account_id, state, id);
CREATE INDEX host_account_cluster ON host (account_id, cluster_id, id);
