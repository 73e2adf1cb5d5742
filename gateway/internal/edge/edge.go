// Package edge is what every request passes before a dialect sees it: a request id, limits, one spelling of the URL,
// whose the credential is, and one line of the access log.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/trace"
)

// Refusals of the edge itself.
var (
	ErrTooLarge  = fault.New(codes.InvalidArgument, "BODY_TOO_LARGE", "the body is too large")
	ErrURLLength = fault.New(codes.InvalidArgument, "URL_TOO_LONG", "the address is too long")
	ErrPanic     = fault.Internal
)

// Config are the limits of a request. Zero values mean the defaults named.
type Config struct {
	MaxBody int64         // bytes, 1 MiB
	MaxURL  int           // bytes, 16 KiB
	Timeout time.Duration // for the whole request, 30 s
	// TrustedProxies may say in X-Forwarded-For whom they speak for.
	TrustedProxies []netip.Prefix
	// Secure: clients come by HTTPS, and browsers shall never do otherwise.
	Secure bool
	// Observe, when it is set, is told of every request that was answered.
	Observe func(method, path string, status int, took time.Duration)
	// Fail writes a refusal in the shape of the dialect.
	Fail func(http.ResponseWriter, *http.Request, error)
}

// Request is what the edge knows of a request, and what a dialect wants to have logged.
type Request struct {
	ID     string
	Client string // address, without port
	// UserAgent is what the client calls itself, so much of it as gRPC can carry.
	UserAgent string
	// Identity is the signed identity of the caller; empty for nobody.
	Identity string
	Account  int32
	// OnceKey is the client's Idempotency-Key, if it sent one.
	OnceKey string
	// Ignored are fields of the body that nothing reads.
	Ignored []string
	// Reason is why the request was refused; Err is set besides when that is ours to mend.
	Reason string
	Err    error
	// Renew finds out anew whose the credential is, for an answer that takes long; nil when there was none.
	Renew func(context.Context) error

	whole context.Context // of the connection, which knows no limit of time
	limit time.Duration
}

// Extend is a context for the next part of an answer that has several, with the time of a whole request. It ends with
// the connection.
func Extend(ctx context.Context) (context.Context, context.CancelFunc) {
	q := Of(ctx)
	if q.whole == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(context.WithValue(q.whole, requestKey{}, q), q.limit)
}

type requestKey struct{}

// Of returns what the edge knows of the request of ctx.
func Of(ctx context.Context) *Request {
	if q, ok := ctx.Value(requestKey{}).(*Request); ok {
		return q
	}
	return &Request{}
}

// Handler puts the edge round next.
func Handler(cfg Config, log *slog.Logger, next http.Handler) http.Handler {
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 1 << 20
	}
	if cfg.MaxURL <= 0 {
		cfg.MaxURL = 16 << 10
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	return &edge{cfg: cfg, log: log, next: next}
}

type edge struct {
	cfg  Config
	log  *slog.Logger
	next http.Handler
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	q := &Request{
		ID: requestID(r.Header.Get("X-Request-Id")), Client: clientAddr(r, e.cfg.TrustedProxies),
		UserAgent: userAgent(r.Header.Get("User-Agent")), whole: r.Context(), limit: e.cfg.Timeout,
	}
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), requestKey{}, q), e.cfg.Timeout)
	defer cancel()
	ctx, traced := trace.Request(ctx, q.ID, r.Method)
	r = r.WithContext(ctx)
	rec := &recorder{ResponseWriter: w}
	e.headers(rec.Header(), q.ID)
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // the value itself is the contract of net/http
				panic(p)
			}
			q.Err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			if rec.status == 0 {
				e.cfg.Fail(rec, r, ErrPanic.Wrap(q.Err))
			}
		}
		took := time.Since(start)
		if e.cfg.Observe != nil {
			e.cfg.Observe(r.Method, r.URL.Path, rec.status, took)
		}
		traced(q.Err)
		e.report(r, rec, q, took)
	}()
	if err := e.prepare(rec, r); err != nil {
		e.cfg.Fail(rec, r, err)
		return
	}
	e.next.ServeHTTP(rec, r)
}

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

// prepare brings the request into the one spelling that everything behind it understands. r is the edge's own copy.
func (e *edge) prepare(w http.ResponseWriter, r *http.Request) error {
	if len(r.RequestURI) > e.cfg.MaxURL || len(r.URL.Path)+len(r.URL.RawQuery) > e.cfg.MaxURL {
		return ErrURLLength.With("the address is longer than %d bytes", e.cfg.MaxURL)
	}
	if !utf8.ValidString(r.URL.Path) || strings.IndexByte(r.URL.Path, 0) >= 0 {
		return fault.Invalid.With("the path is not text")
	}
	u := *r.URL
	escaped := plainPath(u.EscapedPath())
	u.Path, u.RawPath = plainPath(u.Path), escaped
	r.URL = &u
	// Set here, nobody parses the query another time, with other rules.
	r.Form, r.PostForm = Query(u.RawQuery), nil
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w, r.Body, e.cfg.MaxBody)
	}
	return nil
}

// plainPath is the path without the /api that may stand before it and the slash that may stand behind it.
func plainPath(p string) string {
	if rest, ok := strings.CutPrefix(p, "/api"); ok && (rest == "" || rest[0] == '/') {
		p = rest
	}
	if p = strings.TrimRight(p, "/"); p == "" {
		return "/"
	}
	return p
}

// TooLarge tells whether reading a body failed at the limit.
func TooLarge(err error) (*fault.Fault, bool) {
	big, ok := errors.AsType[*http.MaxBytesError](err)
	if !ok {
		return nil, false
	}
	return ErrTooLarge.With("the body is larger than %d bytes", big.Limit), true
}
