package pg

import (
	"context"
	"embed"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var historyFiles embed.FS

// Histories makes the table of the histories that a schema was on. After a failover to an asynchronous standby, and on a
// database that was restored, a history may lack what was acknowledged. The first connection to a new one moves all
// numbers of the schema on; Settle records that the service has looked at what is outside of its database.
var Histories = Line{Name: "timeline", FS: historyFiles}

// History is a history of the data of a schema.
type History struct {
	System int64 // identifier of the cluster
	Number int64 // the timeline
}

// OpenHistories returns the histories that are not settled.
func OpenHistories(ctx context.Context, db DB) ([]History, error) {
	rows, err := db.Query(ctx, `SELECT system, number FROM timeline WHERE settled_at IS NULL ORDER BY number, system`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[History])
}

// Settle records that histories are settled.
func Settle(ctx context.Context, db DB, list []History) error {
	systems, numbers := make([]int64, len(list)), make([]int64, len(list))
	for i, h := range list {
		systems[i], numbers[i] = h.System, h.Number
	}
	_, err := db.Exec(ctx, `
		UPDATE timeline SET settled_at = now() FROM unnest($1::bigint[], $2::bigint[]) AS x (a, b)
		WHERE system = a AND number = b AND settled_at IS NULL`, systems, numbers)
	return err
}

// historian begins new histories on the connections of a pool.
type historian struct {
	guard *Guard
	begun atomic.Pointer[History] // the last that was begun
}

// begin is for pgxpool.Config.AfterConnect.
func (h *historian) begin(ctx context.Context, c *pgx.Conn) error {
	on := h.guard.historyOf(c.PgConn().Conn())
	if last := h.begun.Load(); last != nil && *last == on {
		return nil
	}
	var ready bool
	if err := c.QueryRow(ctx, `SELECT to_regprocedure('timeline_begin()') IS NOT NULL`).Scan(&ready); err != nil || !ready {
		return err // the schema is not made yet
	}
	if _, err := c.Exec(ctx, `SELECT timeline_begin()`); err != nil {
		return fmt.Errorf("begin timeline %d: %w", on.Number, err)
	}
	h.begun.Store(&on)
	return nil
}
