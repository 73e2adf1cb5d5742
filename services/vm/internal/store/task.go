package store

import (
	"context"
	"time"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
)

// Task is a job as the dialect shows it.
type Task struct {
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

// Sources of the words: clients wait for complete and failed; a job between two attempts, or undoing what it did, is running.
const taskStatus = `CASE j.state WHEN 'done' THEN 'complete' WHEN 'undoing' THEN 'running'
	WHEN 'queued' THEN CASE WHEN j.started_at IS NULL THEN 'created' ELSE 'running' END ELSE j.state END`

const taskHost = `coalesce(substring(j.key FROM '^host/([0-9]+)$'), '0')::int`

var taskList = query.List{
	From: "job j",
	Columns: `j.id, j.kind AS name, ` + taskStatus + ` AS status, ` + taskHost + ` AS host, coalesce(j.account_id, 0) AS account,
		coalesce(extract(epoch FROM coalesce(j.finished_at, now()) - j.started_at), 0)::int AS running,
		extract(epoch FROM coalesce(j.started_at, j.finished_at, now()) - j.created_at)::int AS waiting,
		j.error AS output, (SELECT count(*)::int FROM job_step s WHERE s.job_id = j.id AND s.state = 'done') AS done, j.created_at`,
	LastNotify: now,
	Fields: map[string]query.Field{
		"id":          {SQL: "j.id", Type: query.Int},
		"consul_id":   {SQL: "j.id", Type: query.Int},
		"name":        {SQL: "j.kind", Type: query.Text},
		"status":      {SQL: "(" + taskStatus + ")", Type: query.Text, Alias: map[string]string{"fail": "failed"}},
		"host":        {SQL: taskHost, Type: query.Int},
		"account":     {SQL: "j.account_id", Type: query.Int, Null: true},
		"date_create": {SQL: "j.created_at", Type: query.Time},
	},
}

// Tasks returns a page of the tasks of owner, of all for owner 0.
func (s *Store) Tasks(ctx context.Context, q *querypb.Query, owner int32) (query.Rows[Task], error) {
	return query.Read[Task](ctx, s.lists, taskList, q, own("j.account_id", owner))
}

// Task returns one task.
func (s *Store) Task(ctx context.Context, id, owner int32) (Task, error) {
	rows, err := s.pool.Query(ctx, taskList.Row(`j.id = $2 AND ($1 = 0 OR j.account_id = $1)`), owner, id)
	return pg.One[Task](rows, err, pg.Missing("task", id))
}

// historyList is what tasks of one host look like in its history.
var historyList = query.List{
	From: taskList.From, Columns: taskList.Columns, LastNotify: now, Newest: true, Default: 100,
	Fields: map[string]query.Field{
		"id":          taskList.Fields["id"],
		"task":        taskList.Fields["id"],
		"name":        taskList.Fields["name"],
		"state":       taskList.Fields["status"],
		"status":      taskList.Fields["status"],
		"date_create": taskList.Fields["date_create"],
	},
}

// History returns the tasks of one host, newest first unless the query orders otherwise.
func (s *Store) History(ctx context.Context, q *querypb.Query, host int32) (query.Rows[Task], error) {
	return query.Read[Task](ctx, s.lists, historyList, q, query.Scope{SQL: taskHost + " = $1", Args: []any{host}})
}
