package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/node"
)

// importKind is the kind of the job, the dialect's name of the task.
const importKind = "os_import"

// importTimeout bounds the download of one image to all nodes.
const importTimeout = 2 * time.Hour

// importArgs is the argument of an import.
type importArgs struct {
	Image image `json:"image"`
}

// Check refuses what no handler ever enqueued.
func (a importArgs) Check() error {
	if a.Image.Name == "" || a.Image.URL == "" {
		return errors.New("an image without a name or a URL")
	}
	return nil
}

// importer carries out imports.
type importer struct {
	db   *unit.DB
	dial node.Dial
}

// Register registers the handler of imports.
func Register(r *jobs.Runner, db *unit.DB, dial node.Dial) {
	w := &importer{db, dial}
	jobs.Handle(r, importKind, jobs.Handler[importArgs]{
		Steps:  []jobs.Step[importArgs]{{Name: "download", Do: w.download, Timeout: importTimeout}},
		Failed: w.failed, Attempts: 3,
	})
}

// download has all nodes in service import the image. It may run twice: a node that holds the image answers at once.
func (w *importer) download(ctx context.Context, _ *jobs.Run, a importArgs) error {
	agents, err := node.Agents(ctx, w.db)
	if err != nil {
		return err
	}
	held := false
	for _, x := range agents {
		if !x.Alive {
			continue // the node takes no hosts of this OS until the OS is imported again
		}
		if err := w.importTo(ctx, x, a.Image); err != nil {
			return err
		}
		held = true
	}
	if !held {
		return fault.Unavailable.With("no node is in service")
	}
	return nil
}

// importTo has one node import the image.
func (w *importer) importTo(ctx context.Context, x node.Agent, i image) error {
	agent, err := w.dial.Agent(x.UUID, x.Endpoint)
	if err != nil {
		return err
	}
	resp, err := agent.ImportTemplate(ctx, &nodepb.ImportTemplateRequest{
		Name: i.Name, Title: i.Title, Url: i.URL, ChecksumsUrl: i.ChecksumsURL,
		MinRamMib: i.MinRAM, MinDiskMib: i.MinDisk, OsGroup: i.Group,
	})
	if err != nil {
		return fmt.Errorf("node %d: %w", x.ID, err)
	}
	return w.db.InTx(ctx, func(tx *unit.Tx) error {
		return hold(ctx, tx, x.ID, Versions([]*nodepb.Template{resp.GetTemplate()}))
	})
}

// failed removes the template of an import that was given up.
func (w *importer) failed(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a importArgs, _ *fault.Fault) error {
	return remove(ctx, unit.In(tx), a.Image.Name)
}
