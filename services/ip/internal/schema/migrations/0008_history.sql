-- +goose Up

-- No owner gets an address while the database may lack what it has acknowledged: machines may have such addresses.
CREATE TRIGGER settled_claim BEFORE UPDATE OF owner ON address FOR EACH ROW
    WHEN (NEW.owner IS NOT NULL AND NEW.owner IS DISTINCT FROM OLD.owner) EXECUTE FUNCTION timeline_settled();
CREATE TRIGGER settled_row BEFORE INSERT ON address FOR EACH ROW
    WHEN (NEW.owner IS NOT NULL) EXECUTE FUNCTION timeline_settled();
