-- +goose Up

-- What lists filter and order by. Patterns compare lower(name), and the operator class knows where one begins.
CREATE INDEX host_state ON host (state, id);
CREATE INDEX host_cluster ON host (cluster_id, id);
CREATE INDEX host_name ON host (name, id);
CREATE INDEX host_name_pattern ON host (lower(name) text_pattern_ops);
CREATE INDEX account_email ON account (email);
CREATE INDEX disk_boot ON disk (host_id, boot_order, id);

CREATE INDEX job_account ON job (account_id, id);
CREATE INDEX job_host ON job ((coalesce(substring(key FROM '^host/([0-9]+)$'), '0')::int), id);
CREATE INDEX job_status ON job ((CASE state WHEN 'done' THEN 'complete' WHEN 'undoing' THEN 'running'
    WHEN 'queued' THEN CASE WHEN started_at IS NULL THEN 'created' ELSE 'running' END ELSE state END), id);

-- How many hosts there are of each kind: the sum over its rows. Changes are added as rows of their own, so that no two
-- units of work wait for each other; vm folds them from time to time.
CREATE TABLE host_count (
    cluster_id integer NOT NULL,
    state      text    NOT NULL,
    n          bigint  NOT NULL
);
INSERT INTO host_count SELECT cluster_id, state, count(*) FROM host GROUP BY 1, 2;

-- +goose StatementBegin
CREATE FUNCTION count_hosts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_OP
    WHEN 'INSERT' THEN
        INSERT INTO host_count SELECT cluster_id, state, count(*) FROM now GROUP BY 1, 2;
    WHEN 'DELETE' THEN
        INSERT INTO host_count SELECT cluster_id, state, -count(*) FROM was GROUP BY 1, 2;
    ELSE
        INSERT INTO host_count
        SELECT cluster_id, state, sum(n) FROM (
            SELECT cluster_id, state, 1 AS n FROM now UNION ALL SELECT cluster_id, state, -1 FROM was) v
        GROUP BY 1, 2 HAVING sum(n) <> 0;
    END CASE;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER count_inserted AFTER INSERT ON host REFERENCING NEW TABLE AS now EXECUTE FUNCTION count_hosts();
CREATE TRIGGER count_deleted AFTER DELETE ON host REFERENCING OLD TABLE AS was EXECUTE FUNCTION count_hosts();
CREATE TRIGGER count_updated AFTER UPDATE ON host REFERENCING OLD TABLE AS was NEW TABLE AS now EXECUTE FUNCTION count_hosts();
