package vmmanager

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"time"

	"slipway.dev/gateway/internal/edge"
	"slipway.dev/gateway/internal/where"
)

// Lines is the content type of an export: one JSON object a line, for all rows that match.
const Lines = "application/x-ndjson"

// pageTime is how long a client may take to read one page of an export.
const pageTime = time.Minute

// wantsLines reports whether a list is asked for as an export.
func wantsLines(r *http.Request) bool {
	if r.Method != http.MethodGet || !strings.Contains(r.Header.Get("Accept"), Lines) {
		return false
	}
	path := strings.Split(r.URL.Path, "/")
	for _, route := range Routes() {
		if route.Method == http.MethodGet && route.Lists() && matches(strings.Split(route.Path, "/"), path) {
			return true
		}
	}
	return false
}

// export answers with all rows of a list by reading page after page, each where the one before ended. Neither end holds
// more than a page. It is no snapshot, but no row that is there all the time is left out or comes twice. An error on
// the way breaks the connection off, so that nobody takes a part for the whole.
func (o room) export(w http.ResponseWriter, in *http.Request) {
	form := maps.Clone(in.Form)
	delete(form, where.ParamLimit)
	delete(form, where.ParamExplain)
	form[where.ParamCount] = []string{"0"}
	out := http.NewResponseController(w)
	begun := false
	for next := in.Form.Get(where.ParamCursor); ; begun = true {
		form[where.ParamCursor] = []string{next}
		page := &lines{w: w, begun: begun}
		_ = out.SetWriteDeadline(time.Now().Add(pageTime)) // a writer that knows none has no limit either
		o.page(page, in, form)
		if page.status != http.StatusOK {
			if begun {
				panic(http.ErrAbortHandler)
			}
			return
		}
		_ = out.Flush() // nor has it anything to flush
		if next = page.next; next == "" {
			return
		}
	}
}

// page writes one page. Before each but the first, the credential is looked at again.
func (o room) page(page *lines, in *http.Request, form map[string][]string) {
	ctx, cancel := edge.Extend(in.Context())
	defer cancel()
	r := in.WithContext(context.WithValue(ctx, shapeKey{}, &shape{fields: where.Fields(form), lines: page}))
	r.Form = form
	if q := edge.Of(ctx); page.begun && q.Renew != nil {
		if err := q.Renew(ctx); err != nil {
			WriteError(page, r, err)
			return
		}
	}
	o.mux.ServeHTTP(page, r)
}

// lines takes one page of an export, and passes on what shall be seen of it.
type lines struct {
	w      http.ResponseWriter
	header http.Header
	status int
	begun  bool // by a page before
	next   string
}

// Header implements http.ResponseWriter.
func (l *lines) Header() http.Header {
	if l.header == nil {
		l.header = http.Header{}
	}
	return l.header
}

// WriteHeader implements http.ResponseWriter.
func (l *lines) WriteHeader(status int) {
	if l.status != 0 {
		return
	}
	l.status = status
	if l.begun {
		return
	}
	if status == http.StatusOK {
		l.w.Header().Set("Content-Type", Lines)
	} else {
		maps.Copy(l.w.Header(), l.Header())
	}
	l.w.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (l *lines) Write(p []byte) (int, error) {
	l.WriteHeader(http.StatusOK)
	if l.status != http.StatusOK && l.begun {
		return len(p), nil
	}
	return l.w.Write(p)
}
