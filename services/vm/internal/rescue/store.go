package rescue

import (
	"context"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/power"
)

// Tx is what jobs do in the unit of work in which they end.
type Tx interface {
	power.Tx
	// Rescued records the rescue system that a host is in; name "" for none.
	Rescued(ctx context.Context, id int32, name, template string, sizeMiB int32) error
}

// rows are the tables in a unit of work.
type rows struct {
	power.Tx
	tx *unit.Tx
}

// Rows returns the Tx of the tables.
func Rows(tx *unit.Tx) Tx { return rows{power.Rows(tx), tx} }

func (t rows) Rescued(ctx context.Context, id int32, name, template string, sizeMiB int32) error {
	return host.SetRescue(ctx, t.tx, id, name, template, sizeMiB)
}
