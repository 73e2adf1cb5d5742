package rest

import (
	"net/http"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/gateway/internal/edge"
)

// Lines is the content type of an export: one JSON object a line, for all rows that match.
const Lines = "application/x-ndjson"

// wantsLines reports whether a list is asked for as an export.
func wantsLines(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), Lines)
}

// export answers with all rows of a list, whatever page its limit and offset ask for. An error after the first page aborts the
// connection, so that a client cannot mistake a part for the whole.
func (c *call) export(w http.ResponseWriter, r *http.Request, in protoreflect.Message, page Page) {
	account := edge.Of(r.Context()).Account
	if err := c.api.walks.wait(r.Context(), account); err != nil {
		c.api.dialect.Fail(w, r, err)
		return
	}
	defer c.api.walks.free(account)
	k := c.newWalk(w, r, in, page, -1)
	p := c.plan.narrow(page.Fields)
	var text []byte
	for begun := false; !begun || k.more(); begun = true {
		out, err := k.page()
		switch {
		case err != nil && begun:
			k.abort(err)
		case err != nil:
			c.api.dialect.Fail(w, r, err)
			return
		case !begun:
			w.Header().Set("Content-Type", Lines)
		}
		text = p.items(text[:0], out, "", "\n")
		k.write(text)
	}
}
