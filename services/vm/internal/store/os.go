package store

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
)

// ErrImporting refuses a second import of an OS that is being imported or is there.
var ErrImporting = fault.New(codes.AlreadyExists, "CONFLICT", "the OS exists already, or is being imported")

// OS is a template.
type OS struct {
	ID        int32
	Name      string
	SHA256    string
	State     string
	Group     string    `db:"os_group"`
	MinRAM    int32     `db:"min_ram_mib"`
	MinDisk   int32     `db:"min_disk_mib"`
	AdminOnly bool      `db:"adminonly"`
	Comment   string    `db:"comment"`
	UpdatedAt time.Time `db:"updated_at"`
	Clusters  []int32   `db:"clusters"`
}

var osList = query.List{
	From: "os o",
	Columns: `o.id, o.name, o.sha256, o.state, o.os_group, o.min_ram_mib, o.min_disk_mib, o.adminonly, o.comment, o.updated_at,
		ARRAY(SELECT DISTINCT n.cluster_id FROM os_node x JOIN node n ON n.id = x.node_id WHERE x.os_id = o.id ORDER BY 1) AS clusters`,
	LastNotify: now,
	Fields: map[string]query.Field{
		"id":               {SQL: "o.id", Type: query.Int},
		"name":             {SQL: "o.name", Type: query.Text},
		"state":            {SQL: "o.state", Type: query.Text},
		"os_group":         {SQL: "o.os_group", Type: query.Text},
		"adminonly":        {SQL: "o.adminonly", Type: query.Bool},
		"min_ram_mib":      {SQL: "o.min_ram_mib", Type: query.Int},
		"hdd_mib_required": {SQL: "o.min_disk_mib", Type: query.Int},
		"comment":          {SQL: "o.comment", Type: query.Text},
		"updated_at":       {SQL: "o.updated_at", Type: query.Time},
		"clusters": {
			SQL: "m.cluster_id", Type: query.Int, Each: "os_node x JOIN node m ON m.id = x.node_id WHERE x.os_id = o.id",
		},
		"repository":   {SQL: "'local'::text", Type: query.Text},
		"is_lxd_image": {SQL: "(o.id IS NULL)", Type: query.Bool},
	},
}

// OSes returns a page of the templates; those for administrators only when all is set.
func (s *Store) OSes(ctx context.Context, q *querypb.Query, all bool) (query.Rows[OS], error) {
	scope := query.Scope{SQL: "NOT o.adminonly"}
	if all {
		scope = query.Scope{}
	}
	return query.Read[OS](ctx, s.lists, osList, q, scope)
}

// OS returns one template.
func (s *Store) OS(ctx context.Context, id int32, all bool) (OS, error) {
	rows, err := s.pool.Query(ctx, osList.Row(`o.id = $1 AND ($2 OR NOT o.adminonly)`), id, all)
	return pg.One[OS](rows, err, pg.Missing("OS", id))
}

// HoldOS records that a node holds a template. A template of the same name with another checksum is a newer version of it:
// hosts made later start from that. Nodes say so with every sign of life, mostly of what is known: that writes nothing.
func (t Tx) HoldOS(ctx context.Context, node int32, o OS) error {
	_, err := t.Exec(ctx, `
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
		ON CONFLICT DO NOTHING`, node, o.Name, o.SHA256, o.Group, o.MinRAM, o.MinDisk)
	return err
}

// AwaitOS makes a template that is being imported.
func (t Tx) AwaitOS(ctx context.Context, o OS) (id int32, err error) {
	err = t.QueryRow(ctx, `
		INSERT INTO os (name, state, os_group, min_ram_mib, min_disk_mib) VALUES ($1, 'importing', $2, $3, $4)
		ON CONFLICT (name) DO NOTHING RETURNING id`, o.Name, o.Group, o.MinRAM, o.MinDisk).Scan(&id)
	if id == 0 {
		return 0, ErrImporting.With("OS %s exists already, or is being imported", o.Name)
	}
	return id, err
}

// ForgetOS removes a template whose import failed.
func (t Tx) ForgetOS(ctx context.Context, name string) error {
	_, err := t.Exec(ctx, `DELETE FROM os WHERE name = $1 AND state = 'importing'`, name)
	return err
}
