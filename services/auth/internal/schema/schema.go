// Package schema holds the migrations of the auth service, forward only. Each table is written by one room.
package schema

import (
	"embed"

	"slipway.dev/pkg/pg"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the tables of the service.
var Migrations = pg.Line{Name: "auth", FS: files}
