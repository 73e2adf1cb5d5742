package image

import (
	"context"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
)

// errImporting refuses a second import of an OS that is being imported or exists.
var errImporting = fault.New(codes.AlreadyExists, "CONFLICT", "the OS exists already, or is being imported")

// described is a template as its node describes it.
type described interface {
	GetName() string
	GetSha256() string
	GetOsGroup() string
	GetMinRamMib() int32
	GetMinDiskMib() int32
}

// Hold records that a node holds a template. A template of the same name with another checksum is a newer version of
// it, from which hosts made later start. Nodes list their templates with every sign of life: what is known already
// writes nothing.
func Hold(ctx context.Context, tx *unit.Tx, node int32, t described) error {
	_, err := tx.Exec(ctx, `
		WITH changed AS (
			UPDATE os SET sha256 = $3, state = 'active', os_group = $4, min_ram_mib = $5, min_disk_mib = $6, updated_at = now()
			WHERE name = $2 AND (sha256, state, min_ram_mib, min_disk_mib) IS DISTINCT FROM ($3, 'active', $5::integer, $6::integer)
		), made AS (
			INSERT INTO os (name, sha256, state, os_group, min_ram_mib, min_disk_mib)
			SELECT $2, $3, 'active', $4, $5, $6 WHERE NOT EXISTS (SELECT FROM os WHERE name = $2)
			ON CONFLICT (name) DO NOTHING
			RETURNING id)
		INSERT INTO os_node (os_id, node_id)
		SELECT id, $1 FROM (SELECT id FROM made UNION SELECT id FROM os WHERE name = $2) v
		WHERE NOT EXISTS (SELECT FROM os_node x WHERE x.os_id = v.id AND x.node_id = $1)
		ON CONFLICT DO NOTHING`, node, t.GetName(), t.GetSha256(), t.GetOsGroup(), t.GetMinRamMib(), t.GetMinDiskMib())
	return err
}

// insert adds a template that is being imported.
func insert(ctx context.Context, tx *unit.Tx, i image) (id int32, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO os (name, state, os_group, min_ram_mib, min_disk_mib) VALUES ($1, 'importing', $2, $3, $4)
		ON CONFLICT (name) DO NOTHING RETURNING id`, i.Name, i.Group, i.MinRAM, i.MinDisk).Scan(&id)
	if id == 0 {
		return 0, errImporting.With("OS %s exists already, or is being imported", i.Name)
	}
	return id, err
}

// remove removes a template whose import failed.
func remove(ctx context.Context, tx *unit.Tx, name string) error {
	_, err := tx.Exec(ctx, `DELETE FROM os WHERE name = $1 AND state = 'importing'`, name)
	return err
}
