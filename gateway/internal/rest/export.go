package rest

import (
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/query"

	"slipway.dev/gateway/internal/edge"
)

// Lines is the content type of an export: one JSON object a line, for all rows that match.
const Lines = "application/x-ndjson"

// pageTime is how long a client may take to read one page of an export.
const pageTime = time.Minute

// wantsLines reports whether a list is asked for as an export.
func wantsLines(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), Lines)
}

// export answers with all rows of a list by reading page after page by cursor. Neither side holds more than a page in
// memory. The export is no snapshot, but every row that exists throughout appears exactly once. An error aborts the
// connection, so that a client cannot mistake a part for the whole.
func (c *call) export(w http.ResponseWriter, r *http.Request, in protoreflect.Message, page Page) {
	q := &querypb.Query{}
	if page.Query != nil {
		q = proto.CloneOf(page.Query)
	}
	q.Offset, q.Limit, q.Explain, q.Uncounted = 0, 0, false, true
	in.Set(c.query, protoreflect.ValueOfMessage(q.ProtoReflect()))
	out := http.NewResponseController(w)
	next := q.GetCursor()
	for begun := false; ; begun = true {
		q.Cursor = proto.String(next)
		_ = out.SetWriteDeadline(time.Now().Add(pageTime)) // a writer without deadlines has no limit either
		text, following, err := c.lines(r, in, page, begun)
		switch {
		case err != nil && begun:
			edge.Of(r.Context()).Err = err
			panic(http.ErrAbortHandler)
		case err != nil:
			c.api.dialect.Fail(w, r, err)
			return
		case !begun:
			w.Header().Set("Content-Type", Lines)
		}
		if _, err := w.Write(text); err != nil {
			panic(http.ErrAbortHandler)
		}
		_ = out.Flush() // a writer that cannot flush does not buffer
		if next = following; next == "" {
			return
		}
	}
}

// lines reads one page and returns where the next begins. The credential is checked again before each page but the
// first.
func (c *call) lines(r *http.Request, in protoreflect.Message, page Page, begun bool) (text []byte, next string, err error) {
	ctx, cancel := edge.Extend(r.Context())
	defer cancel()
	if q := edge.Of(ctx); begun && q.Renew != nil {
		if q.Identity, err = q.Renew(ctx, ""); err != nil {
			return nil, "", err
		}
	}
	out, trailer, err := c.invoke(ctx, in.Interface())
	if err != nil {
		return nil, "", err
	}
	return c.plan.lines(out, page.Fields), last(trailer, query.NextKey), nil
}
