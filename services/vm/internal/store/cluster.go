package store

import (
	"context"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/vm/internal/domain"
)

// Cluster is a cluster as lists show it.
type Cluster struct {
	ID             int32
	Name           string
	DomainTemplate string   `db:"domain_template"`
	DNS            []string `db:"dns_servers"`
	Overselling    float64
	Nodes          int32
	Hosts          int32
	Pools          []int32
}

var clusterList = query.List{
	From: "cluster c",
	Columns: `c.id, c.name, c.domain_template, c.dns_servers, c.overselling,
		(SELECT count(*)::int FROM node n WHERE n.cluster_id = c.id) AS nodes,
		(SELECT coalesce(sum(h.n), 0)::int FROM host_count h WHERE h.cluster_id = c.id) AS hosts,
		ARRAY(SELECT p.pool_id FROM cluster_pool p WHERE p.cluster_id = c.id ORDER BY 1) AS pools`,
	LastNotify: now,
	Fields: map[string]query.Field{
		"id":   {SQL: "c.id", Type: query.Int},
		"name": {SQL: "c.name", Type: query.Text},
	},
}

// Clusters returns a page of the clusters.
func (s *Store) Clusters(ctx context.Context, q *querypb.Query) (query.Rows[Cluster], error) {
	return query.Read[Cluster](ctx, s.lists, clusterList, q, query.Scope{})
}

// Cluster returns one cluster.
func (s *Store) Cluster(ctx context.Context, id int32) (Cluster, error) {
	rows, err := s.pool.Query(ctx, clusterList.Row(`c.id = $1`), id)
	return pg.One[Cluster](rows, err, pg.Missing("cluster", id))
}

// Ground is what a new host is planned on.
type Ground struct {
	ClusterID      int32
	DomainTemplate string
	OSID           int32
	Template       string // sha256
	Ready          bool   // the OS is not being imported any more
	MinRAM         int32
	MinDisk        int32
	Limits         domain.Limits // of the account
}

// Ground reads cluster, OS and owner of a new host in one round trip; cluster 0 is the first. OSes for administrators only are
// seen when all is set. What is missing stays 0.
func (s *Store) Ground(ctx context.Context, cluster, os, account int32, all bool) (g Ground, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT coalesce(c.id, 0), coalesce(c.domain_template, ''), coalesce(o.id, 0), coalesce(o.sha256, ''),
		       coalesce(o.state = 'active', false), coalesce(o.min_ram_mib, 0), coalesce(o.min_disk_mib, 0),
		       `+limitColumns+`
		FROM (SELECT) one
		LEFT JOIN LATERAL (SELECT id, domain_template FROM cluster WHERE id = $1 OR $1 = 0 ORDER BY id LIMIT 1) c ON true
		LEFT JOIN LATERAL (SELECT id, sha256, state, min_ram_mib, min_disk_mib FROM os WHERE id = $2 AND ($3 OR NOT adminonly)) o ON true
		LEFT JOIN account_usage u ON u.account_id = $4`,
		cluster, os, all, account).Scan(append([]any{
		&g.ClusterID, &g.DomainTemplate, &g.OSID, &g.Template, &g.Ready, &g.MinRAM, &g.MinDisk,
	}, into(&g.Limits)...)...)
	return g, err
}

// EnsureCluster makes the first cluster where there is none.
func (s *Store) EnsureCluster(ctx context.Context, name, domainTemplate string) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cluster (name, domain_template) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM cluster)
		ON CONFLICT DO NOTHING`, name, domainTemplate)
	return err
}

// KeepPool stores which clusters a pool serves. Clusters that are gone by now are left out.
func (t Tx) KeepPool(ctx context.Context, pool int32, clusters []int32) error {
	_, err := t.Exec(ctx, `
		WITH old AS (DELETE FROM cluster_pool WHERE pool_id = $1 AND cluster_id <> ALL($2))
		INSERT INTO cluster_pool (pool_id, cluster_id) SELECT $1, id FROM cluster WHERE id = ANY($2)
		ON CONFLICT DO NOTHING`, pool, append([]int32{}, clusters...))
	return err
}
