-- +goose Up

-- Seeds are sealed with the installation's master key. The service seals those from before when it starts, which is why
-- seed stays for now. A key signs from signs_from on, so that all know it by then, until the next one does.
ALTER TABLE signing_key
    ALTER COLUMN seed DROP NOT NULL,
    ADD COLUMN sealed     bytea,
    ADD COLUMN public     bytea CHECK (octet_length(public) = 32),
    ADD COLUMN signs_from timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT signing_key_once CHECK (num_nonnulls(seed, sealed) = 1 AND (sealed IS NULL) = (public IS NULL));
