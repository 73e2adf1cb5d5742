package keypage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
)

//go:embed page.html
var source string

var layout = template.Must(template.New("page").Parse(source))

// page is what a person sees.
type page struct {
	Title string
	Text  []string
	// Proof makes a button, which sends it back.
	Proof string
}

var (
	pageRefused = page{
		Title: "This link does not work",
		Text: []string{
			"It was used already, it has expired, or a part of it is missing. Nobody was logged in.",
			"Ask whoever gave it to you for a new one.",
		},
	}
	pageForeign = page{
		Title: "Nobody was logged in",
		Text:  []string{"The button was not pressed on this page. Open the link again and press it there; cookies must be allowed."},
	}
	pageLater = page{
		Title: "Not available just now",
		Text:  []string{"The link is as good as before. Open it again in a moment."},
	}
	pageBroken = page{Title: "Something went wrong", Text: []string{"It is in the log, and not your fault."}}
)

// policy lets a page have its own style and its own form and nothing else: no script, no picture, no frame. panel is where the form
// may lead to: browsers hold a redirect against the policy too.
func policy(panel string) string {
	_, rest, _ := strings.Cut(source, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	return strings.TrimSpace("default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' " + panel)
}

func (h *handler) show(w http.ResponseWriter, status int, p page) {
	var b bytes.Buffer
	if err := layout.Execute(&b, p); err != nil {
		panic(err) // the fields are text
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", h.policy)
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client went away: nobody is left to tell
}
