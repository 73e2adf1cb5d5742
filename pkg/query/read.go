package query

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg"
)

// ErrTooCostly is the fault of a list that cannot be read within the time limit of a request.
var ErrTooCostly = fault.New(codes.InvalidArgument, "QUERY_TOO_COSTLY",
	"this filter takes too long here: narrow it, filter by an indexed field such as id, or page by cursor")

// Keys of the metadata in the trailer of an answer.
const (
	// NextKey is the cursor of the next page of a list that has more rows, if the request was for a page by cursor, for all
	// rows, or for more rows than a page holds.
	NextKey = "slipway-next"
	// ExplainKey is the explanation of how the list was read, as JSON.
	ExplainKey = "slipway-explain-bin"
)

// Limits bound the cost of one request. Zero values mean the defaults named.
type Limits struct {
	MaxRows int           `env:"MAX_ROWS"` // rows of a page, 1000; longer lists are read in several
	Timeout time.Duration `env:"TIMEOUT"`  // of each statement, 2 s
}

// Reader reads lists.
type Reader struct {
	pool   *pgxpool.Pool
	limits Limits
}

// NewReader makes a reader.
func NewReader(pool *pgxpool.Pool, l Limits) Reader {
	if l.MaxRows <= 0 {
		l.MaxRows = 1000
	}
	if l.Timeout <= 0 {
		l.Timeout = 2 * time.Second
	}
	return Reader{pool, l}
}

// Rows is a page of a list with the number of all rows and of the last change.
type Rows[T any] struct {
	LastNotify, Size int32
	Rows             []T
}

// Read reads the page that q asks for, of the rows within scope; the caller is the identity in ctx. Page, number of rows and
// number of the last change take one round trip, with one statement each. A page has at most Limits.MaxRows rows, however many
// q asks for; the cursor of the next page goes into the trailer of the rpc.
func Read[T any](ctx context.Context, r Reader, l List, q *querypb.Query, scope Scope) (Rows[T], error) {
	me, _ := identity.From(ctx)
	if q.GetExplain() && !me.Admin() && !me.ReadOnly() {
		return Rows[T]{}, fault.Denied.With("this needs an administrator").On("explain")
	}
	p, err := l.Compile(q, scope, Caller{Admin: me.ReachesAll(), MaxRows: r.limits.MaxRows})
	if err != nil {
		return Rows[T]{}, err
	}
	if q.GetExplain() {
		return Rows[T]{}, l.costly(ctx, q, r.explain(ctx, l, q, p))
	}
	rows, next, err := read[T](ctx, r, l, p, !q.GetUncounted())
	if next != "" && err == nil {
		err = grpc.SetTrailer(ctx, metadata.Pairs(NextKey, next))
	}
	return rows, l.costly(ctx, q, err)
}

func read[T any](ctx context.Context, r Reader, l List, p Page, counted bool) (out Rows[T], next string, err error) {
	var b pgx.Batch
	b.Queue(r.guarded(l), r.settings(p)...)
	b.Queue(p.SQL, p.Args...)
	if counted {
		b.Queue(p.Count, p.Args[:p.CountArgs]...)
	}
	res := r.pool.SendBatch(ctx, &b)
	defer res.Close()
	if err := res.QueryRow().Scan(nil, nil, nil, &out.LastNotify); err != nil {
		return out, "", fmt.Errorf("last change: %w", err)
	}
	rows, err := res.Query()
	if err != nil {
		return out, "", fmt.Errorf("page: %w", err)
	}
	if out.Rows, next, err = collect[T](rows, p); err != nil {
		return out, "", fmt.Errorf("page: %w", err)
	}
	if counted {
		if err := res.QueryRow().Scan(&out.Size); err != nil {
			return out, "", fmt.Errorf("count: %w", err)
		}
	}
	return out, next, nil
}

// guarded returns the first statement of a request's transaction: the others may not write or run for long, and skewed ones are
// planned for their values.
func (r Reader) guarded(l List) string {
	notify := l.LastNotify
	if notify == "" {
		notify = "0"
	}
	return `SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', $1, true),
		set_config('plan_cache_mode', $2, true), ` + notify
}

func (r Reader) settings(p Page) []any {
	mode := "auto"
	if p.Skewed {
		mode = "force_custom_plan"
	}
	return []any{strconv.FormatInt(r.limits.Timeout.Milliseconds(), 10), mode}
}

// collect reads the rows, and for a page after which more may be wanted also the cursor of the next page if there is one.
func collect[T any](rows pgx.Rows, p Page) ([]T, string, error) {
	if !p.Paged {
		list, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[T])
		return list, "", err
	}
	var list []T
	var ends, last []*string
	_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		ends = last
		last = nil
		v, err := pgx.RowToStructByNameLax[T](keyed{row, &last})
		list = append(list, v)
		return struct{}{}, err
	})
	if err != nil || len(list) <= p.Limit {
		return list, "", err
	}
	return list[:p.Limit], cursor{cursorVersion, p.sum, ends}.String(), nil
}

// keyed is a row with an additional last column for its order keys, which the struct of the row does not have.
type keyed struct {
	pgx.CollectableRow
	keys *[]*string
}

// FieldDescriptions implements pgx.CollectableRow.
func (k keyed) FieldDescriptions() []pgconn.FieldDescription {
	all := k.CollectableRow.FieldDescriptions()
	return all[:len(all)-1]
}

// Scan implements pgx.CollectableRow.
func (k keyed) Scan(dest ...any) error { return k.CollectableRow.Scan(append(dest, k.keys)...) }

// costly returns ErrTooCostly, with what is at fault, if err is that of a statement that took too long, else err.
func (l List) costly(ctx context.Context, q *querypb.Query, err error) error {
	if err == nil || ctx.Err() != nil || pg.Code(err) != pg.CodeCanceled {
		return err
	}
	if len(q.GetOrderBy()) > 0 && !l.quick(q.GetOrderBy()) {
		return ErrTooCostly.With("to order so many rows so takes too long: narrow where, or order by one of %s",
			strings.Join(append([]string{l.key()}, l.Quick...), ", ")).Wrap(err).On("orderby")
	}
	return ErrTooCostly.Wrap(err).On("where")
}
