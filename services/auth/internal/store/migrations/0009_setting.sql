-- +goose Up

-- All settings are whole numbers; which there are and how far they go is the service's to say. What was never set has the
-- service's own default.
ALTER TABLE setting
    DROP CONSTRAINT setting_name_check,
    DROP CONSTRAINT setting_check,
    ADD CONSTRAINT setting_name_check CHECK (name ~ '^[a-z][a-z_]*$'),
    ADD CONSTRAINT setting_value_check CHECK (value ~ '^(0|[1-9][0-9]{0,6})$');
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON setting EXECUTE FUNCTION changed();
