-- +goose Up

-- No host is made while the database may lack hosts that it has acknowledged: their ids would be given twice.
CREATE TRIGGER settled BEFORE INSERT ON host FOR EACH STATEMENT EXECUTE FUNCTION timeline_settled();
