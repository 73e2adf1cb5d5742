package query

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	querypb "slipway.dev/proto/query/v1"
)

// explanation is the plan and SQL of a list.
type explanation struct {
	Tree   json.RawMessage `json:"tree"`
	Page   statement       `json:"page"`
	Count  statement       `json:"count"`
	TimeMS float64         `json:"time_ms"`
}

type statement struct {
	SQL  string          `json:"sql"`
	Args []string        `json:"args"`
	Plan json.RawMessage `json:"plan"`
}

// explain reads the list as Read does, under the same limits, and returns the plan in the trailer instead of the rows.
func (r Reader) explain(ctx context.Context, l List, q *querypb.Query, p Page) error {
	tree, err := protojson.Marshal(q)
	if err != nil {
		return err
	}
	e := explanation{
		Tree: tree, Page: statement{SQL: p.SQL, Args: printed(p.Args)},
		Count: statement{SQL: p.Count, Args: printed(p.Args[:p.CountArgs])},
	}
	start := time.Now()
	if err := r.plans(ctx, l, p, &e); err != nil {
		return err
	}
	e.TimeMS = float64(time.Since(start).Microseconds()) / 1000
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return grpc.SetTrailer(ctx, metadata.Pairs(ExplainKey, string(text)))
}

func (r Reader) plans(ctx context.Context, l List, p Page, e *explanation) error {
	const how = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
	var b pgx.Batch
	b.Queue(r.guarded(l), r.settings(p)...)
	b.Queue(how+p.SQL, p.Args...)
	b.Queue(how+p.Count, p.Args[:p.CountArgs]...)
	res := r.pool.SendBatch(ctx, &b)
	defer res.Close()
	if _, err := res.Exec(); err != nil {
		return err
	}
	if err := res.QueryRow().Scan(&e.Page.Plan); err != nil {
		return fmt.Errorf("explain page: %w", err)
	}
	if err := res.QueryRow().Scan(&e.Count.Plan); err != nil {
		return fmt.Errorf("explain count: %w", err)
	}
	return nil
}

func printed(args []any) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = fmt.Sprint(a)
	}
	return out
}
