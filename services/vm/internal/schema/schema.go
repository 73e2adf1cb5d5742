// Package schema holds the migrations of vm's schema.
package schema

import (
	"embed"

	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes vm's tables.
var Migrations = pg.Line{Name: "vm", FS: files}

// Lines are all migrations of vm's schema.
var Lines = []pg.Line{jobs.Migrations, outbox.Migrations, idem.Migrations, pg.Histories, Migrations}
