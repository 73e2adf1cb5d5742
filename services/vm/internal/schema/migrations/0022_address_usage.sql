-- +goose Up

-- An address that a host loses is given back to what its account may use. When the host itself goes, so does the row that this
-- looks for: the whole host is given back then.
-- +goose StatementBegin
CREATE FUNCTION host_address_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE account_usage u SET ipv4_number = u.ipv4_number - g.n
    FROM (
        SELECT h.account_id, count(*)::integer AS n FROM gone JOIN host h ON h.id = gone.host_id
        WHERE gone.family = 4 GROUP BY h.account_id
    ) g
    WHERE u.account_id = g.account_id;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER gone AFTER DELETE ON host_address REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION host_address_gone();
