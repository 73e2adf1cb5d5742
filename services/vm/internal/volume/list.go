package volume

import (
	"context"

	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/listing"
)

// item is a disk as the list shows it.
type item struct {
	ID          int32
	Name        string
	Size        int32 `db:"size_mib"`
	SizeNew     int32 `db:"size_mib_new"`
	Target      string
	Bus         string
	Order       int32 `db:"boot_order"`
	Main        bool
	HostID      int32  `db:"host_id"`
	HostName    string `db:"host_name"`
	AccountID   int32  `db:"account_id"`
	Email       string
	NodeID      int32  `db:"node_id"`
	NodeName    string `db:"node_name"`
	ClusterID   int32  `db:"cluster_id"`
	ClusterName string `db:"cluster_name"`
}

const (
	own  = `k.id, k.name, k.label, k.size_mib, k.had_mib, k.boot_order, k.bus`
	name = `coalesce(nullif(d.label, ''), d.name)`
	size = `coalesce(d.had_mib, d.size_mib)`
	// place counts the disks of the host before this one.
	place = `(SELECT count(*)::int FROM disk k WHERE k.host_id = d.host_id AND (k.boot_order, k.id) < (d.boot_order, d.id))`
)

// diskList is the list of disks, for pages of some: the indexes of hosts find those of an account or a node.
var diskList = query.List{
	From: `(
		SELECT ` + own + `, k.host_id, h.account_id, h.node_id, h.cluster_id, h.name AS host_name FROM disk k JOIN host h ON h.id = k.host_id
		UNION ALL
		SELECT ` + own + `, 0, k.account_id, k.node_id, n.cluster_id, '' FROM disk k JOIN node n ON n.id = k.node_id WHERE k.host_id IS NULL) d`,
	Joins: []query.Join{
		// Every disk has a node in a cluster. PostgreSQL believes that inner joins leave few rows, and would sort them all.
		{Alias: "n", SQL: "LEFT JOIN node n ON n.id = d.node_id"},
		{Alias: "c", SQL: "LEFT JOIN cluster c ON c.id = d.cluster_id"},
		{Alias: "a", SQL: "LEFT JOIN account a ON a.id = d.account_id"},
	},
	Columns: `d.id, ` + name + ` AS name, ` + size + ` AS size_mib, d.size_mib AS size_mib_new,
		CASE WHEN d.host_id = 0 THEN '' WHEN d.bus = 'sata' THEN 'sd' || chr(98 + ` + place + `) ELSE 'vd' || chr(97 + ` + place + `) END AS target,
		d.bus, d.boot_order, ` + place + ` = 0 AS main, d.host_id, d.host_name, d.account_id, coalesce(a.email, '') AS email,
		n.id AS node_id, n.name AS node_name, c.id AS cluster_id, c.name AS cluster_name`,
	LastNotify: listing.Now,
	Fields: map[string]query.Field{
		"id":            {SQL: "d.id", Type: query.Int},
		"name":          {SQL: name, Type: query.Text},
		"size_mib":      {SQL: size, Type: query.Int},
		"size_mib_new":  {SQL: "d.size_mib", Type: query.Int},
		"bus":           {SQL: "d.bus", Type: query.Text},
		"host":          {SQL: "d.host_id", Type: query.Int},
		"host.id":       {SQL: "d.host_id", Type: query.Int},
		"host.name":     {SQL: "d.host_name", Type: query.Text},
		"account":       {SQL: "d.account_id", Type: query.Int},
		"account.id":    {SQL: "d.account_id", Type: query.Int},
		"account.email": {SQL: "a.email", Type: query.Mail, Null: true, Needs: "a"},
		"node":          {SQL: "d.node_id", Type: query.Int},
		"node.id":       {SQL: "d.node_id", Type: query.Int},
		"node.name":     {SQL: "n.name", Type: query.Text, Needs: "n"},
		"cluster":       {SQL: "d.cluster_id", Type: query.Int},
		"cluster.id":    {SQL: "d.cluster_id", Type: query.Int},
		"cluster.name":  {SQL: "c.name", Type: query.Text, Needs: "c"},
	},
}

// everyDisk is diskList for pages of all: the index of disks orders them.
var everyDisk = func() query.List {
	l := diskList
	l.From = `(
		SELECT ` + own + `, coalesce(k.host_id, 0) AS host_id, coalesce(h.account_id, k.account_id) AS account_id,
			coalesce(h.node_id, k.node_id) AS node_id, coalesce(h.cluster_id, m.cluster_id) AS cluster_id, coalesce(h.name, '') AS host_name
		FROM disk k LEFT JOIN host h ON h.id = k.host_id LEFT JOIN node m ON m.id = k.node_id) d`
	return l
}()

// page returns a page of the disks of owner, of all for owner 0.
func page(ctx context.Context, db *unit.DB, q *querypb.Query, owner int32) (query.Rows[item], error) {
	l := diskList
	if owner == 0 && q.GetWhere() == nil {
		l = everyDisk
	}
	return query.Read[item](ctx, db.Lists, l, q, listing.Own("d.account_id", owner))
}

// find returns one disk of owner, of all for owner 0.
func find(ctx context.Context, db *unit.DB, id, owner int32) (item, error) {
	rows, err := db.Query(ctx, diskList.Row(`d.id = $2 AND ($1 = 0 OR d.account_id = $1)`), owner, id)
	return pg.One[item](rows, err, pg.Missing("disk", id))
}

func render(d *item) *vmpb.Disk {
	p := &vmpb.Disk{
		Id: d.ID, Name: d.Name, SizeMib: d.Size, SizeMibNew: d.SizeNew, Bus: d.Bus, TargetDev: d.Target,
		Account: &vmpb.HostAccount{Id: d.AccountID, Email: d.Email},
		Storage: &vmpb.DiskStorage{Id: cluster.StorageID(d.ClusterID), Name: cluster.StorageName},
		Node:    &vmpb.DiskNode{Id: d.NodeID, Name: d.NodeName},
		Cluster: &vmpb.DiskCluster{Id: d.ClusterID, Name: d.ClusterName, Type: "kvm"},
	}
	if d.HostID != 0 {
		p.Host = &vmpb.DiskHost{Id: d.HostID, Name: d.HostName, BootOrder: d.Order, IsMain: d.Main, Bus: d.Bus}
	}
	return p
}
