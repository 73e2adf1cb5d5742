-- +goose Up

-- size_mib of a disk is what its host counts for; until the task resize_task has enlarged the disk, it has had_mib.
ALTER TABLE disk
    ADD had_mib     integer CHECK (had_mib > 0),
    ADD resize_task integer;
