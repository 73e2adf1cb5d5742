package task

import (
	"context"
	"time"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// item is a job as the dialect shows it.
type item struct {
	ID        int32
	Name      string
	Status    string
	Host      int32
	Account   int32
	Running   int32
	Waiting   int32
	Output    string
	Done      int32
	CreatedAt time.Time `db:"created_at"`
}

// Sources of the words: clients wait for complete and failed; a job between two attempts, or undoing what it did, is
// running.
const taskStatus = `CASE j.state WHEN 'done' THEN 'complete' WHEN 'undoing' THEN 'running'
	WHEN 'queued' THEN CASE WHEN j.started_at IS NULL THEN 'created' ELSE 'running' END ELSE j.state END`

const taskHost = `coalesce(substring(j.key FROM '^host/([0-9]+)$'), '0')::int`

// columns returns the columns of a list of tasks with this status.
func columns(status string) string {
	return `j.id, j.kind AS name, ` + status + ` AS status, ` + taskHost + ` AS host, coalesce(j.account_id, 0) AS account,
		coalesce(extract(epoch FROM coalesce(j.finished_at, now()) - j.started_at), 0)::int AS running,
		extract(epoch FROM coalesce(j.started_at, j.finished_at, now()) - j.created_at)::int AS waiting,
		CASE j.state WHEN 'done' THEN j.remark ELSE j.error END AS output, (SELECT count(*)::int FROM job_step s WHERE s.job_id = j.id AND s.state = 'done') AS done, j.created_at`
}

// statusField returns the field of a status.
func statusField(status string) query.Field {
	return query.Field{SQL: "(" + status + ")", Type: query.Text, Alias: map[string]string{"fail": "failed"}}
}

var taskList = query.List{
	From:       "job j",
	Columns:    columns(taskStatus),
	LastNotify: listing.Now,
	Fields: map[string]query.Field{
		"id":          {SQL: "j.id", Type: query.Int},
		"consul_id":   {SQL: "j.id", Type: query.Int},
		"name":        {SQL: "j.kind", Type: query.Text},
		"status":      statusField(taskStatus),
		"host":        {SQL: taskHost, Type: query.Int},
		"account":     {SQL: "j.account_id", Type: query.Int, Null: true},
		"date_create": {SQL: "j.created_at", Type: query.Time},
	},
}

// page returns a page of the tasks of owner, of all for owner 0.
func page(ctx context.Context, db *unit.DB, q *querypb.Query, owner int32) (query.Rows[item], error) {
	return query.Read[item](ctx, db.Lists, taskList, q, listing.Own("j.account_id", owner))
}

// find returns one task of owner, of all for owner 0.
func find(ctx context.Context, db *unit.DB, id, owner int32) (item, error) {
	rows, err := db.Query(ctx, taskList.Row(`j.id = $2 AND ($1 = 0 OR j.account_id = $1)`), owner, id)
	return pg.One[item](rows, err, pg.Missing("task", id))
}

// historyStatus is the status of a task in the history of its host. Clients that look there for the task of a call that was
// just answered see it running: while it waits, and for a second after its end.
const historyStatus = `CASE WHEN j.finished_at IS NULL OR j.finished_at > clock_timestamp() - interval '1 second' THEN 'running'
	ELSE ` + taskStatus + ` END`

// historyList is the list of the tasks of one host.
var historyList = query.List{
	From: taskList.From, Columns: columns(historyStatus), LastNotify: listing.Now, Newest: true,
	Fields: map[string]query.Field{
		"id":          taskList.Fields["id"],
		"task":        taskList.Fields["id"],
		"name":        taskList.Fields["name"],
		"state":       statusField(historyStatus),
		"status":      statusField(historyStatus),
		"date_create": taskList.Fields["date_create"],
	},
}

// history returns the tasks of one host, newest first unless the query orders otherwise.
func history(ctx context.Context, db *unit.DB, q *querypb.Query, host int32) (query.Rows[item], error) {
	return query.Read[item](ctx, db.Lists, historyList, q, query.Scope{SQL: taskHost + " = $1", Args: []any{host}})
}
