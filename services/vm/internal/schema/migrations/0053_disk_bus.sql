-- +goose Up

-- The bus by which the guest reaches a disk.
ALTER TABLE disk ADD bus text NOT NULL DEFAULT 'virtio' CHECK (bus IN ('virtio', 'sata'));
