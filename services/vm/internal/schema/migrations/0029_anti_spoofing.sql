-- +goose Up

-- Guests may use their own addresses alone, unless an administrator turns that off. host.anti_spoofing is what holds for
-- the machine, since its last start; hosts that exist follow the cluster at their next start.
ALTER TABLE cluster ADD anti_spoofing boolean NOT NULL DEFAULT true;
ALTER TABLE host ADD anti_spoofing_own boolean; -- NULL: as the cluster says
