// Package schema holds the migrations of the ip service.
package schema

import (
	"embed"

	"slipway.dev/pkg/pg"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the tables of the service.
var Migrations = pg.Line{Name: "ip", FS: files}
