package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
)

// importTimeout bounds the download of one image to all nodes.
const importTimeout = 2 * time.Hour

// Import is the argument of an OS import.
type Import struct {
	Image domain.Image `json:"image"`
}

// Check refuses what no handler ever enqueued.
func (a Import) Check() error {
	if a.Image.Name == "" || a.Image.URL == "" {
		return errors.New("an image without a name or a URL")
	}
	return nil
}

// importOS may run twice: a node that holds the image answers at once.
func (w *Worker) importOS(ctx context.Context, _ *jobs.Run, a Import) error {
	agents, err := w.store.Agents(ctx)
	if err != nil {
		return err
	}
	held := false
	for _, x := range agents {
		if !x.Alive {
			continue // it will not be offered for this OS until it is imported again
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

func (w *Worker) importTo(ctx context.Context, x store.Agent, i domain.Image) error {
	agent, err := w.agent(x.Endpoint)
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
	t := resp.GetTemplate()
	return w.store.InTx(ctx, func(tx Tx) error {
		return tx.HoldOS(ctx, x.ID, store.OS{
			Name: t.GetName(), SHA256: t.GetSha256(), Group: t.GetOsGroup(), MinRAM: t.GetMinRamMib(), MinDisk: t.GetMinDiskMib(),
		})
	})
}

func (w *Worker) importFailed(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a Import, _ *fault.Fault) error {
	return w.store.In(tx).ForgetOS(ctx, a.Image.Name)
}
