// Package worker puts together what vm does besides answering requests: the jobs of all rooms, and the watch of the
// nodes.
package worker

import (
	"log/slog"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/attach"
	"slipway.dev/services/vm/internal/guest"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/image"
	"slipway.dev/services/vm/internal/ipchange"
	"slipway.dev/services/vm/internal/iso"
	"slipway.dev/services/vm/internal/leftover"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/owner"
	"slipway.dev/services/vm/internal/power"
	"slipway.dev/services/vm/internal/reinstall"
	"slipway.dev/services/vm/internal/rescue"
	"slipway.dev/services/vm/internal/resource"
	"slipway.dev/services/vm/internal/volume"
	"slipway.dev/services/vm/internal/watch"
)

// Rows are vm's rows as jobs and the watch need them: the tables, or a memory in simulations.
type Rows struct {
	Machine   machine.Reader
	Host      func(pgx.Tx) host.Tx
	Power     func(pgx.Tx) power.Tx
	IPChange  func(pgx.Tx) ipchange.Tx
	Reinstall func(pgx.Tx) reinstall.Tx
	Made      machine.Make // what a reinstallation makes of a machine
	Resource  func(pgx.Tx) resource.Tx
	Guest     func(pgx.Tx) guest.Tx
	Rescue    func(pgx.Tx) rescue.Tx
	ISO       func(pgx.Tx) iso.Tx
	Passed    machine.Make // what a change of the password makes of a machine
	Leftovers leftover.Store
	Watch     watch.Store
	DB        *unit.DB  // for imports of images; simulations have none
	Guard     *pg.Guard // of the database; may be nil
	Histories *watch.Histories
}

// Tables returns the Rows of the tables.
func Tables(db *unit.DB) Rows {
	return Rows{
		Machine:   machine.Read(db),
		Host:      func(tx pgx.Tx) host.Tx { return host.Rows(unit.In(tx)) },
		Power:     func(tx pgx.Tx) power.Tx { return power.Rows(unit.In(tx)) },
		IPChange:  func(tx pgx.Tx) ipchange.Tx { return ipchange.Rows(unit.In(tx)) },
		Reinstall: func(tx pgx.Tx) reinstall.Tx { return reinstall.Rows(unit.In(tx)) },
		Made:      reinstall.Make(db),
		Resource:  func(tx pgx.Tx) resource.Tx { return resource.Rows(unit.In(tx)) },
		Guest:     func(tx pgx.Tx) guest.Tx { return guest.Rows(unit.In(tx)) },
		Passed:    guest.Make(db),
		Rescue:    func(tx pgx.Tx) rescue.Tx { return rescue.Rows(unit.In(tx)) },
		ISO:       func(tx pgx.Tx) iso.Tx { return iso.Rows(unit.In(tx)) },
		Leftovers: leftover.Tables(db),
		Watch:     watch.Tables(db),
		DB:        db,
	}
}

// Worker is what runs besides the runner of jobs.
type Worker struct {
	*watch.Watcher
	Reaper *leftover.Reaper
}

// New registers the handlers of all jobs, and returns the Worker.
func New(r *jobs.Runner, rows Rows, ip ippb.AddressServiceClient, dial node.Dial, log *slog.Logger) *Worker {
	steps := machine.New(rows.Machine, dial)
	host.Register(r, rows.Host, steps, ip)
	power.Register(r, rows.Power, steps)
	ipchange.Register(r, rows.IPChange, steps, ip)
	reinstall.Register(r, rows.Reinstall, rows.Made, steps)
	resource.Register(r, rows.Resource, steps)
	volume.Register(r, rows.DB, dial, steps)
	attach.Register(r, rows.DB, steps)
	rescue.Register(r, rows.Rescue, steps)
	iso.Register(r, rows.ISO, steps)
	guest.Register(r, rows.Guest, rows.Passed, steps)
	image.Register(r, rows.DB, dial)
	owner.Register(r)
	reaper := leftover.New(r, rows.Leftovers, dial, log)
	return &Worker{watch.New(rows.Watch, reaper, dial, rows.Guard, rows.Histories, log), reaper}
}
