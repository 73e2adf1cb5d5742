// Package edge is the part of the gateway that every request passes before its dialect: it sets a request id, applies
// limits, normalizes the URL, finds the caller of a credential, and writes one line to the access log.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/trace"

	"slipway.dev/gateway/internal/proxies"
)

// Refusals of the edge itself.
var (
	ErrTooLarge  = fault.New(codes.InvalidArgument, "BODY_TOO_LARGE", "the body is too large")
	ErrURLLength = fault.New(codes.InvalidArgument, "URL_TOO_LONG", "the URL is too long")
	ErrPanic     = fault.Internal
)

// Config is what the edge does for all mounts. Limits of 0 mean 1 MiB of body, 16 KiB of URL, 30 s for the whole request.
type Config struct {
	Limits Limits
	// TrustedProxies may name the client in X-Forwarded-For.
	TrustedProxies *proxies.List
	// Secure: clients come by HTTPS, and browsers must not come without.
	Secure bool
	// Observe, when it is set, is called for every request that was answered, with the group of its path.
	Observe func(method, group string, status int, took time.Duration)
}

// Request is what the edge knows about a request, and what a dialect adds to its log line.
type Request struct {
	ID     string
	Client string // address, without port
	// UserAgent is the client's User-Agent, limited to what gRPC can carry.
	UserAgent string
	// Session is that of the caller; Known reports whether there is one.
	Session Session
	Known   bool
	Account int32
	// OnceKey is the client's Idempotency-Key, if it sent one.
	OnceKey string
	// MaxBody is the largest body of the route in bytes; there is no limit below 0.
	MaxBody int64
	// Head: the client asked for the header of the answer to a GET.
	Head bool
	// Ignored are unknown fields of the body.
	Ignored []string
	// Reason is why the request was refused. Err is also set if the cause is an error of the server.
	Reason string
	Err    error
	// Renew asks auth again for the session of the credential, unless the gateway has a newer identity than stale. It is
	// nil if the request has no credential.
	Renew func(ctx context.Context, stale string) (Session, error)

	mount *Mount
	whole context.Context // of the connection, which knows no limit of time
	limit time.Duration
}

// Mount returns the name of the mount that the path of the request belongs to.
func (q *Request) Mount() string { return q.mount.Name }

// Extend returns a context for the next part of an answer that has several. It has the time limit of a whole request,
// and ends with the connection.
func Extend(ctx context.Context) (context.Context, context.CancelFunc) {
	q := Of(ctx)
	if q.whole == nil {
		return context.WithCancel(ctx)
	}
	return bounded(context.WithValue(q.whole, requestKey{}, q), q.limit)
}

type closingKey struct{}

// WithClosing returns a context for the requests of a server that stops when closing is closed.
func WithClosing(ctx context.Context, closing <-chan struct{}) context.Context {
	return context.WithValue(ctx, closingKey{}, closing)
}

// Closing returns a channel that is closed when the server of a request stops, for what the server does not wait for. It is nil
// where nothing says so.
func Closing(ctx context.Context) <-chan struct{} {
	closing, _ := ctx.Value(closingKey{}).(<-chan struct{})
	return closing
}

type requestKey struct{}

// Of returns what the edge knows about the request of ctx.
func Of(ctx context.Context) *Request {
	if q, ok := ctx.Value(requestKey{}).(*Request); ok {
		return q
	}
	return &Request{}
}

// Handler returns the edge in front of mounts. A request goes to the mount with the longest matching prefix; the
// first mount also gets requests that no mount claims. The edge finds the mount before it refuses anything, so every
// refusal has the mount's shape.
func Handler(cfg Config, log *slog.Logger, mounts ...*Mount) http.Handler {
	cfg.Limits = cfg.Limits.or(Limits{Body: 1 << 20, URL: 16 << 10, Time: 30 * time.Second})
	e := &edge{cfg: cfg, log: log}
	for _, m := range mounts {
		with := *m
		with.Limits = m.Limits.or(cfg.Limits)
		e.mounts = append(e.mounts, &with)
	}
	return e
}

type edge struct {
	cfg    Config
	log    *slog.Logger
	mounts []*Mount
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	u := singleSlashes(r.URL)
	m := MountOf(e.mounts, u.Path)
	u = plainURL(u, m.Alias)
	limits, own := m.limitsOf(r.Method, u.Path)
	q := &Request{
		ID: requestID(r.Header.Get("X-Request-Id")), Client: clientAddr(r, e.cfg.TrustedProxies),
		UserAgent: userAgent(r.Header.Get("User-Agent")), mount: m, whole: r.Context(), limit: limits.Time, MaxBody: limits.Body,
	}
	ctx, cancel := bounded(context.WithValue(r.Context(), requestKey{}, q), limits.Time)
	defer cancel()
	ctx, traced := trace.Request(ctx, q.ID, r.Method)
	r = r.WithContext(ctx)
	if own {
		extendConnection(w, limits.Time)
	}
	rec := &recorder{ResponseWriter: w}
	e.headers(rec.Header(), q.ID)
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // the value itself is the contract of net/http
				defer panic(p)
			} else if q.Err = fmt.Errorf("panic: %v\n%s", p, debug.Stack()); rec.status == 0 {
				m.Fail(rec, r, ErrPanic.Wrap(q.Err))
			}
		}
		took := time.Since(start)
		if e.cfg.Observe != nil && rec.status != http.StatusSwitchingProtocols { // how long a console was open is no latency
			e.cfg.Observe(r.Method, m.group(u.Path), rec.status, took)
		}
		traced(q.Err)
		e.report(r, u.Path, rec, q, took)
	}()
	if err := prepare(rec, r, u, limits, m.Parameters); err != nil {
		m.Fail(rec, r, err)
		return
	}
	m.Handler.ServeHTTP(rec, r)
}

// bounded limits the time of ctx; below 0 there is no limit.
func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

// extendConnection replaces the server's deadlines for reading and writing by those of a route of its own.
func extendConnection(w http.ResponseWriter, limit time.Duration) {
	var deadline time.Time // none
	if limit >= 0 {
		deadline = time.Now().Add(limit + writeSlack)
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(deadline) // a writer that knows no deadlines has no limit either
	_ = c.SetWriteDeadline(deadline)
}

// writeSlack is the time to write a refusal once a request has used up its own.
const writeSlack = 10 * time.Second

func (e *edge) headers(h http.Header, id string) {
	h["X-Request-Id"] = []string{id}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Cache-Control"] = []string{"no-store"}
	h["Referrer-Policy"] = []string{"no-referrer"}
	h["Content-Security-Policy"] = []string{"default-src 'none'; frame-ancestors 'none'"}
	if e.cfg.Secure {
		h["Strict-Transport-Security"] = []string{"max-age=31536000"}
	}
}

// prepare checks the limits and normalizes the request for the handlers behind the edge. r is the edge's own copy, u
// its URL without the alias.
func prepare(w http.ResponseWriter, r *http.Request, u *url.URL, limits Limits, of Parameters) (err error) {
	if n := limits.URL; n >= 0 && (len(r.RequestURI) > n || len(r.URL.Path)+len(r.URL.RawQuery) > n) {
		return ErrURLLength.With("the URL is longer than %d bytes", n)
	}
	if !utf8.ValidString(u.Path) || strings.IndexByte(u.Path, 0) >= 0 {
		return fault.Invalid.With("the path is not valid UTF-8")
	}
	r.URL = u
	// With Form set here, net/http does not parse the query again by other rules.
	if r.Form, err = Query(u.RawQuery, of); err != nil {
		return err
	}
	r.PostForm = nil
	if r.Body != nil && r.Body != http.NoBody && limits.Body >= 0 {
		r.Body = http.MaxBytesReader(w, r.Body, limits.Body)
	}
	return nil
}

// slashes are separators that count as one.
var slashes = regexp.MustCompile(`//+`)

// singleSlashes returns u with one slash for each run of slashes in its path: clients join a base that ends with a slash
// and a path that begins with one. Escaped slashes are no separators and stay.
func singleSlashes(u *url.URL) *url.URL {
	escaped := u.EscapedPath()
	if !strings.Contains(escaped, "//") {
		return u
	}
	single := *u
	single.RawPath = slashes.ReplaceAllString(escaped, "/")
	path, err := url.PathUnescape(single.RawPath)
	if err != nil { // EscapedPath makes only what can be read back
		path = single.RawPath
	}
	single.Path = path
	return &single
}

// plainURL returns u without the alias before its path and without a trailing slash. Only the escaped path is
// searched for both, because an escaped slash is no separator.
func plainURL(u *url.URL, alias string) *url.URL {
	plain := *u
	escaped := u.EscapedPath()
	plain.RawPath, _ = cutAlias(escaped, alias)
	if plain.RawPath = strings.TrimRight(plain.RawPath, "/"); plain.RawPath == "" {
		plain.RawPath = "/"
	}
	if plain.RawPath == escaped {
		return &plain
	}
	path, err := url.PathUnescape(plain.RawPath)
	if err != nil { // EscapedPath makes only what can be read back
		path = plain.RawPath
	}
	plain.Path = path
	return &plain
}

// TooLarge returns the fault of a body whose reading failed at its limit.
func TooLarge(err error) (*fault.Fault, bool) {
	big, ok := errors.AsType[*http.MaxBytesError](err)
	if !ok {
		return nil, false
	}
	return ErrTooLarge.With("the body is larger than %d bytes", big.Limit), true
}
