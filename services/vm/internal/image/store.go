package image

import (
	"context"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/node"
)

// Sync records that a node holds these templates and no others, each in its own version. What other nodes hold, and what
// hosts on them begin as, stays as it is.
func Sync(ctx context.Context, tx *unit.Tx, id int32, list []Version) error {
	b := &pgx.Batch{}
	queueHold(b, id, list)
	b.Queue(`DELETE FROM os_node x USING os o WHERE x.node_id = $1 AND o.id = x.os_id AND o.name <> ALL($2)`, id, names(list))
	return tx.SendBatch(ctx, b).Close()
}

// hold records that a node holds what it has just imported. Its list of templates is asked for anew, because
// an older list without that may be on its way.
func hold(ctx context.Context, tx *unit.Tx, id int32, list []Version) error {
	if err := node.ForgetTemplates(ctx, tx, id); err != nil {
		return err
	}
	b := &pgx.Batch{}
	queueHold(b, id, list)
	return tx.SendBatch(ctx, b).Close()
}

// queueHold records that a node holds these templates, as a part of b. Each statement sees what another node added
// before it. What is known already writes nothing.
func queueHold(b *pgx.Batch, id int32, list []Version) {
	sums, groups, titles := make([]string, len(list)), make([]string, len(list)), make([]string, len(list))
	ram, disk := make([]int32, len(list)), make([]int32, len(list))
	for i, v := range list {
		sums[i], groups[i], titles[i], ram[i], disk[i] = v.SHA256, v.Group, v.Title, v.MinRAM, v.MinDisk
	}
	const said = `unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::integer[]) AS s(name, sha256, os_group, min_ram_mib, min_disk_mib)`
	args := []any{names(list), sums, groups, ram, disk}
	b.Queue(`
		INSERT INTO os (name, sha256, state, os_group, min_ram_mib, min_disk_mib)
		SELECT name, sha256, 'active', os_group, min_ram_mib, min_disk_mib FROM `+said+`
		WHERE NOT EXISTS (SELECT FROM os o WHERE o.name = s.name) ORDER BY name
		ON CONFLICT (name) DO NOTHING`, args...)
	b.Queue(`
		UPDATE os o SET state = 'active', sha256 = s.sha256, updated_at = now() FROM `+said+`
		WHERE o.name = s.name AND o.state = 'importing'`, args...)
	// A node that gives no title leaves the one that another node gave.
	b.Queue(`
		UPDATE os o SET title = s.title FROM unnest($1::text[], $2::text[]) AS s(name, title)
		WHERE o.name = s.name AND s.title <> '' AND o.title <> s.title`, names(list), titles)
	b.Queue(`
		INSERT INTO os_node AS x (os_id, node_id, sha256, os_group, min_ram_mib, min_disk_mib)
		SELECT o.id, $6, s.sha256, s.os_group, s.min_ram_mib, s.min_disk_mib FROM `+said+` JOIN os o ON o.name = s.name ORDER BY o.id
		ON CONFLICT (os_id, node_id) DO UPDATE SET sha256 = excluded.sha256, os_group = excluded.os_group,
			min_ram_mib = excluded.min_ram_mib, min_disk_mib = excluded.min_disk_mib, since = now()
		WHERE (x.sha256, x.os_group, x.min_ram_mib, x.min_disk_mib)
			IS DISTINCT FROM (excluded.sha256, excluded.os_group, excluded.min_ram_mib, excluded.min_disk_mib)`, append(args, id)...)
}

func names(list []Version) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.Name
	}
	return out
}

// remove removes a template whose import failed.
func remove(ctx context.Context, tx *unit.Tx, name string) error {
	_, err := tx.Exec(ctx, `DELETE FROM os WHERE name = $1 AND state = 'importing'`, name)
	return err
}
