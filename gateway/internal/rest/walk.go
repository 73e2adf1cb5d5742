package rest

import (
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"

	"slipway.dev/gateway/internal/edge"
)

const (
	// pageTime is how long a client may take to read one page of an answer of several pages.
	pageTime = time.Minute
	// walkPage is the number of rows that are asked for at a time after the first page.
	walkPage = 250
)

// walk reads a list page by page, by cursor, for one answer. Neither side holds more than a page in memory. A walk is no
// snapshot, but every row that exists throughout appears exactly once.
type walk struct {
	c     *call
	w     http.ResponseWriter
	r     *http.Request
	in    protoreflect.Message
	query *querypb.Query
	next  string // the cursor of the next page; "" after the last
	left  int    // rows still wanted; below 0 for all
	rows  int    // that were read
}

// newWalk returns a walk for rows of the list that page asks for; below 0 for all rows.
func (c *call) newWalk(w http.ResponseWriter, r *http.Request, in protoreflect.Message, page Page, rows int) *walk {
	q := &querypb.Query{}
	if page.Query != nil {
		q = proto.CloneOf(page.Query)
	}
	return &walk{c: c, w: w, r: r, in: in, query: q, left: rows, next: q.GetCursor()}
}

// took notes what a page has brought.
func (k *walk) took(rows int, next string) {
	k.next = next
	k.rows += rows
	if k.left >= 0 {
		k.left = max(0, k.left-rows)
	}
}

// more reports whether another page is wanted and available.
func (k *walk) more() bool { return k.next != "" && k.left != 0 }

// page reads the page after the last one. The credential is checked again before, and the page has the time limit of a
// whole request.
func (k *walk) page() (proto.Message, error) {
	ctx, cancel := edge.Extend(k.r.Context())
	defer cancel()
	if q := edge.Of(ctx); q.Renew != nil {
		var err error
		if q.Session, err = q.Renew(ctx, ""); err != nil {
			return nil, err
		}
	}
	k.query.Offset, k.query.Limit, k.query.Explain, k.query.Uncounted = 0, walkPage, false, true
	if k.left >= 0 {
		k.query.Limit = int32(min(k.left, walkPage))
	}
	k.query.Cursor = proto.String(k.next)
	k.in.Set(k.c.query, protoreflect.ValueOfMessage(k.query.ProtoReflect()))
	out, trailer, err := k.c.invoke(ctx, k.in.Interface())
	if err != nil {
		return nil, err
	}
	k.took(count(out), last(trailer, query.NextKey))
	return out, nil
}

// write sends a part of the answer, for which the client has pageTime.
func (k *walk) write(text []byte) {
	out := http.NewResponseController(k.w)
	// A writer that knows no deadlines has no limit either. The one for reading would end the request's context.
	_ = out.SetReadDeadline(time.Time{})
	_ = out.SetWriteDeadline(time.Now().Add(pageTime))
	if _, err := k.w.Write(text); err != nil {
		k.abort(nil)
	}
	_ = out.Flush() // a writer that cannot flush does not buffer
}

// abort ends the connection, so that no client mistakes a part of the answer for the whole. err is logged unless the client
// went away.
func (k *walk) abort(err error) {
	if status.Code(err) != codes.Canceled {
		edge.Of(k.r.Context()).Err = err
	}
	panic(http.ErrAbortHandler)
}

// wanted returns how many rows an answer with the first page of a list has in all, below 0 for every row.
func wanted(page Page, first int) int {
	limit := int(page.Query.GetLimit())
	switch {
	case limit > 0:
		return limit
	case page.Cursor:
		return first
	default:
		return -1
	}
}

// list answers with the rows that page asks for. slot reports that the request may read more than one page.
func (c *call) list(w http.ResponseWriter, r *http.Request, in protoreflect.Message, page Page, slot bool) {
	out, trailer, err := c.invoke(r.Context(), in.Interface())
	if err != nil {
		c.api.dialect.Fail(w, r, err)
		return
	}
	k := c.newWalk(w, r, in, page, wanted(page, count(out)))
	k.took(count(out), last(trailer, query.NextKey))
	account := edge.Of(r.Context()).Account
	switch {
	case !k.more():
		c.write(w, out, page, trailer)
	case slot:
		k.list(page, out)
	case c.api.walks.try(account):
		defer c.api.walks.free(account)
		k.list(page, out)
	default: // the first page is read again, so that no waiting request holds one
		if err := c.api.walks.wait(r.Context(), account); err != nil {
			c.api.dialect.Fail(w, r, err)
			return
		}
		defer c.api.walks.free(account)
		c.list(w, r, in, page, true)
	}
}

// list writes an answer of several pages, of which out is the first one.
func (k *walk) list(page Page, out proto.Message) {
	p := k.c.plan.narrow(page.Fields)
	k.w.Header()["Content-Type"] = jsonType
	k.w.WriteHeader(k.c.status)
	if edge.Of(k.r.Context()).Head {
		return
	}
	head, end := p.around(out)
	text := p.items(head, out, ",", "")
	if k.rows > 0 {
		text = append(text[:len(head)], text[len(head)+1:]...) // no comma before the first item
	}
	tail := withoutList(out)
	for k.more() {
		k.write(text)
		var err error
		if out, err = k.page(); err != nil {
			k.abort(err)
		}
		text = p.items(text[:0], out, ",", "")
	}
	if page.Query.GetLimit() == 0 && !page.Query.GetUncounted() {
		setSize(tail, int(page.Query.GetOffset())+k.rows)
	}
	text = end(text, tail)
	if page.Cursor {
		text = withNext(text, k.next)
	}
	k.write(text)
}
