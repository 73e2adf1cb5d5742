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

// page is the content of a page.
type page struct {
	Title string
	Text  []string
	// Proof, if not empty, adds a button that sends it back.
	Proof string
}

var (
	pageRefused = page{
		Title: "This link does not work",
		Text: []string{
			"It has been used already, has expired, or is incomplete. You are not logged in.",
			"Ask for a new link where you got this one.",
		},
	}
	pageForeign = page{
		Title: "You are not logged in",
		Text:  []string{"The button was not pressed on this page. Open the link again and press it there; cookies must be allowed."},
	}
	pageLater = page{
		Title: "Temporarily unavailable",
		Text:  []string{"The link is still valid. Open it again in a moment."},
	}
	pageBroken = page{Title: "Something went wrong", Text: []string{"The error has been logged."}}
)

// policy returns the page's Content-Security-Policy, which allows its own style and form and nothing else: no script,
// image or frame. panel is the target of the form's redirect, which browsers check against the policy too.
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
	_, _ = w.Write(b.Bytes()) // an error means that the client went away
}
