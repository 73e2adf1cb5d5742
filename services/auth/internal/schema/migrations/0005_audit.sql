-- +goose Up

-- Who did what, or tried to. A row is written in the transaction of the change and never touched again.
CREATE TABLE audit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id    uuid        CONSTRAINT audit_event UNIQUE, -- when another service told it
    at          timestamptz NOT NULL,
    service     text        NOT NULL,
    action      text        NOT NULL,
    actor_id    integer     NOT NULL, -- 0: nobody's credential. No foreign key: records outlive accounts
    actor       text        NOT NULL,
    session_id  integer     NOT NULL,
    object_type text        NOT NULL,
    object_id   text        NOT NULL,
    result      text        NOT NULL CHECK (result IN ('ok', 'denied', 'failed')),
    reason      text        NOT NULL,
    client_ip   text        NOT NULL,
    request_id  text        NOT NULL,
    before      json, -- not jsonb: the chain is over the very bytes
    after       json
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_actor ON audit (actor_id, id);
CREATE INDEX audit_object ON audit (object_type, object_id, id);
CREATE INDEX audit_request ON audit (request_id);

-- The chain: hash is SHA-256 over the hash before and the record. Its order is the order of commits, near enough, and not that
-- of ids. A table of its own, so that no record is ever updated.
CREATE TABLE audit_link (
    seq      bigint PRIMARY KEY CHECK (seq > 0),
    audit_id bigint NOT NULL UNIQUE,
    hash     bytea  NOT NULL CHECK (octet_length(hash) = 32)
);

-- Records that wait for their link.
CREATE TABLE audit_unsealed (audit_id bigint PRIMARY KEY);
-- +goose StatementBegin
CREATE FUNCTION audit_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_unsealed VALUES (NEW.id);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER written AFTER INSERT ON audit FOR EACH ROW EXECUTE FUNCTION audit_written();

-- +goose StatementBegin
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_link FOR EACH STATEMENT EXECUTE FUNCTION append_only();
REVOKE UPDATE, DELETE, TRUNCATE ON audit, audit_link FROM PUBLIC, CURRENT_USER;
