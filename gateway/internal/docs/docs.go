// Package docs serves what needs no credential: the OpenAPI documents, the Swagger page, and the state of the
// process.
package docs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"slipway.dev/gateway/internal/edge"
	"slipway.dev/pkg/fault"
)

const readyWithin = 3 * time.Second

// Config says what is served.
type Config struct {
	// Hide the description and the page.
	Hide bool
	// Documents by the paths where they are served.
	Documents map[string][]byte
	// Ready are asked for /readyz; all must answer nil.
	Ready []func(context.Context) error
}

// Handler serves its own paths and leaves all others to next. Paths come in the spelling of the edge.
func Handler(cfg Config, next http.Handler) http.Handler {
	swagger := v5emb.NewHandlerWithConfig(swgui.Config{
		Title: "Slipway", SwaggerJSON: "/openapi.json", BasePath: "/swagger/",
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			next.ServeHTTP(w, r)
		case path == "/healthz":
			reply(w, http.StatusOK, `{"status":"ok"}`)
		case path == "/readyz":
			ready(w, r, cfg.Ready)
		case cfg.Hide:
			next.ServeHTTP(w, r)
		case path == "/":
			http.Redirect(w, r, "/swagger/", http.StatusFound)
		case cfg.Documents[path] != nil:
			reply(w, http.StatusOK, string(cfg.Documents[path]))
		case path == "/swagger" || strings.HasPrefix(path, "/swagger/"):
			page(w.Header())
			swagger.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// page allows what Swagger's page is made of, all of it from here.
func page(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; script-src 'self' 'unsafe-inline'; "+
		"style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-cache")
}

func ready(w http.ResponseWriter, r *http.Request, checks []func(context.Context) error) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	for _, check := range checks {
		if err := check(ctx); err != nil {
			edge.Of(ctx).Err = err
			reply(w, http.StatusServiceUnavailable, notReady(err))
			return
		}
	}
	reply(w, http.StatusOK, `{"status":"ready"}`)
}

// notReady returns the answer of a check that failed, with the reason if that is for everyone.
func notReady(err error) string {
	state := struct {
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}{Status: "not ready"}
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		state.Reason = f.Text()
	}
	text, _ := json.Marshal(state) // two texts
	return string(text)
}

func reply(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // an error means that the client went away
}
