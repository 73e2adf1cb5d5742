-- +goose Up

-- What answers show. The title is what people call an OS; '' until a node describes its template.
ALTER TABLE os ADD title text NOT NULL DEFAULT '';

-- A host that is not balanced stays on its node. Since when it runs is not known of hosts from before this.
ALTER TABLE host
    ADD balanced   boolean NOT NULL DEFAULT true,
    ADD started_at timestamptz;

-- What the client calls a disk, '' for its name.
ALTER TABLE disk ADD label text NOT NULL DEFAULT '';

-- Limits on what accounts cannot have yet.
ALTER TABLE account_usage
    ADD max_image_count integer CHECK (max_image_count >= 0),
    ADD max_vxlan_count integer CHECK (max_vxlan_count >= 0);
