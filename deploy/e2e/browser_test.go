//go:build e2e && !remote

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is how long anything in a page may take, on a machine with much to do.
const patience = 3 * time.Minute

// page is the page of the folder browser, in Chromium.
type page struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the browser in it
}

// picture is what a display shows.
type picture struct {
	Width   int    `json:"width"`
	Height  int    `json:"height"`
	Colours int    `json:"colours"`
	Digest  string `json:"digest"` // of the pixels
}

// newPage starts a browser of its own.
func newPage(t *testing.T) *page {
	t.Helper()
	if _, err := os.Stat("browser/node_modules"); err != nil {
		t.Fatalf("%v: run make browser first", err)
	}
	ctx, cancel := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(chromedp.ExecPath("chromium")),
		chromedp.WithBrowserOption(chromedp.WithConsolef(t.Logf)))
	t.Cleanup(cancel)
	defer time.AfterFunc(patience, cancel).Stop()
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium: %v: run make browser first", err)
	}
	return &page{t, ctx}
}

// site serves the page at an origin of its own. With a stack, its API is there too, as behind the proxy of a panel, which leaves
// the Host of requests as it is.
func site(t *testing.T, s *stack) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/browser/", http.FileServer(http.Dir(".")))
	if s != nil {
		api, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(api)
			r.Out.Host = r.In.Host
		}})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// visit opens the page of a site.
func (p *page) visit(site string) {
	p.t.Helper()
	run(p, chromedp.Navigate(site+"/browser/page.html"))
	p.until("window.page") // its script has run
}

// run runs an action.
func run[T any](p *page, a chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// call calls a function of the page, and returns what its promise becomes.
func call[T any](p *page, function string, args ...any) T {
	p.t.Helper()
	list, err := json.Marshal(append([]any{}, args...))
	if err != nil {
		p.t.Fatal(err)
	}
	return run(p, chromedp.Evaluate[T](fmt.Sprintf("page.%s(...%s)", function, list), chromedp.EvalAwaitPromise))
}

// until waits until an expression is true in the page.
func (p *page) until(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	yes := chromedp.Poll[bool]("!!("+expression+")", chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0))
	if _, err := chromedp.Run(ctx, yes); err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
}

// reads waits until xterm.js shows a text.
func (p *page) reads(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		shown := call[string](p, "text")
		if strings.Contains(shown, text) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the terminal does not show %q but:\n%s", text, strings.TrimSpace(shown))
		}
	}
}

// keys presses the keys of a text one after the other, as a keyboard does, on what has the focus: noVNC or xterm.js.
func (p *page) keys(text string) {
	p.t.Helper()
	for _, r := range text {
		for _, event := range strokes(r) {
			run(p, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
				_, err := cdp.Call(ctx, t, input.DispatchKeyEvent, event)
				return err
			}))
		}
	}
}

// types is keys for noVNC: it waits for each key to change the picture, because a keyboard forgets keys that a slow guest does not
// fetch.
func (p *page) types(text string) {
	p.t.Helper()
	for _, r := range text {
		before := call[picture](p, "picture")
		p.keys(string(r))
		p.until(fmt.Sprintf("page.picture().then((p) => p.digest !== %q)", before.Digest))
	}
}

// strokes returns the events of the keys of a character. The text is that of the event of the key: as an event of its own, as in
// chromedp.KeyEvent, it would come once more to a page that handles keys itself.
func strokes(r rune) []input.DispatchKeyEventParams {
	events := kb.Encode(r)
	down, up := *events[0], *events[len(events)-1]
	if len(events) == 3 {
		down.Text = events[1].Text
	}
	if down.Modifiers&int64(kb.ModifierShift) == 0 {
		return []input.DispatchKeyEventParams{down, up}
	}
	shift := kb.Encode([]rune(kb.Shift)[0])
	return []input.DispatchKeyEventParams{*shift[0], down, up, *shift[1]}
}
