package gateway_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"slipway.dev/gateway"
	"slipway.dev/gateway/internal/ispsystem"
	"slipway.dev/gateway/internal/rest"
	"slipway.dev/gateway/internal/rest/resttest"
	"slipway.dev/gateway/internal/toy"
)

// tokens are those that auth knows in the transcripts, with their accounts.
var tokens = map[string]int32{"admin": 3, "user": 4, "4-cafe": 4, "reader": 5, fakeAPIKey: 4, fakeAccess: 4}

// TestTranscripts replays the transcripts of every dialect.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ispsystem", "toy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resttest.Run(t, "internal/"+name+"/testdata", tokens, func(t *testing.T, conns rest.Conns) http.Handler {
				t.Helper()
				dialects := []rest.Dialect{ispsystem.Dialect(), toy.Dialect()}
				gw, err := gateway.Speaking(dialects, gateway.Config{}, conns, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				return gw.Handler()
			})
		})
	}
}

// send sends a request as it would be on the wire: first line, headers, an empty line, body.
func send(t *testing.T, h http.Handler, lines ...string) *httptest.ResponseRecorder {
	t.Helper()
	return resttest.Send(t, h, lines...)
}
