// Package fetch reads files from web addresses that users name. A Client connects to the internet and to the networks that the
// operator allows, never to the machine itself or to what its neighbours offer to it alone, whatever a name leads to.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Faults of a file that cannot be read.
var (
	// ErrFailed is the fault of a file that its server does not give, or gives otherwise than it should be.
	ErrFailed = fault.New(codes.FailedPrecondition, "DOWNLOAD_FAILED", "the file could not be downloaded")
	// ErrReach is the fault of a file on a server that must not be reached.
	ErrReach = fault.New(codes.FailedPrecondition, "ADDRESS_NOT_PUBLIC", "the file's server is not on the internet")
)

var (
	errReach    = errors.New("refused")
	errRedirect = errors.New("redirect refused")
)

// Bounds of a download.
const (
	dialTimeout  = 30 * time.Second
	maxRedirects = 5
	quiet        = time.Minute // a server may send nothing for so long
)

// Config says what may be reached.
type Config struct {
	// Allow are networks that may be reached although they are not public: mirrors of the operator's.
	Allow []netip.Prefix
	// Proxy carries all requests and decides what they reach; nil for none.
	Proxy *url.URL
	// Plain also allows http, beside https.
	Plain bool
	// Transport is used instead of connections of the client's own, for tests.
	Transport http.RoundTripper
}

// Client reads files. It is safe for many goroutines.
type Client struct {
	allow   []netip.Prefix
	schemes []string
	web     *http.Client
	quiet   time.Duration
}

// New returns a Client.
func New(cfg Config) *Client {
	c := &Client{allow: cfg.Allow, schemes: []string{"https"}, quiet: quiet}
	if cfg.Plain {
		c.schemes = append(c.schemes, "http")
	}
	dialer := &net.Dialer{Timeout: dialTimeout, Control: c.control}
	t := &http.Transport{
		DialContext: dialer.DialContext, ResponseHeaderTimeout: dialTimeout, TLSHandshakeTimeout: dialTimeout,
		MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}
	if cfg.Proxy != nil {
		t.Proxy, dialer.Control = http.ProxyURL(cfg.Proxy), nil
	}
	c.web = &http.Client{Transport: t, CheckRedirect: c.redirect}
	if cfg.Transport != nil {
		c.web.Transport = cfg.Transport
	}
	return c
}

// redirect refuses to follow a server to another scheme, or many times.
func (c *Client) redirect(r *http.Request, via []*http.Request) error {
	if !slices.Contains(c.schemes, r.URL.Scheme) || r.URL.User != nil || len(via) > maxRedirects {
		return fmt.Errorf("%w: to %s", errRedirect, r.URL.Redacted())
	}
	return nil
}

// Check refuses what Open would not try: all but https addresses, with plain http too, of at most 2048 bytes, without a user.
func Check(address string, plain bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || len(address) > 2048:
		return fault.Invalid.With("not a web address").On("url")
	case u.Scheme != "https" && !plain:
		return fault.Invalid.With("not an https address").On("url")
	case u.Scheme != "https" && u.Scheme != "http":
		return fault.Invalid.With("not an http or https address").On("url")
	case u.User != nil:
		return fault.Invalid.With("a web address with a user is not supported").On("url")
	}
	return nil
}

// File is a file as its server sends it.
type File struct {
	io.ReadCloser
	Size int64 // in bytes; -1 if the server does not say
}

// Open asks for a file. The errors are ErrFailed, ErrReach, and fault.Unavailable for a server that may answer later. Reading
// ends with an error if the server is silent for a while.
func (c *Client) Open(ctx context.Context, address string) (*File, error) {
	if err := Check(address, len(c.schemes) > 1); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel(nil)
		return nil, fault.Invalid.With("not a web address").On("url")
	}
	req.Header.Set("Accept-Encoding", "identity") // the file as it is
	resp, err := c.web.Do(req)
	if err != nil {
		cancel(nil)
		return nil, explain(err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		cancel(nil)
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return nil, fault.Unavailable.With("the file's server answered %d", resp.StatusCode)
		}
		return nil, ErrFailed.With("the file's server answered %d", resp.StatusCode)
	}
	b := &body{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, quiet: c.quiet}
	b.watch = time.AfterFunc(c.quiet, func() { cancel(errQuiet) })
	return &File{b, resp.ContentLength}, nil
}

// explain returns the fault of a request without an answer.
func explain(err error) error {
	switch {
	case errors.Is(err, errReach):
		return ErrReach.Wrap(err)
	case errors.Is(err, errRedirect):
		return ErrFailed.With("the file's server sends elsewhere: %s", errors.Unwrap(err)).Wrap(err)
	}
	return fault.Unavailable.With("the file's server cannot be reached").Wrap(err)
}

var errQuiet = errors.New("the server is silent")

// body is a body that ends when its server is silent for too long.
type body struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
	quiet  time.Duration
}

// Read reads what the server sends.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.Reset(b.quiet)
	}
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case errors.Is(context.Cause(b.ctx), errQuiet):
		return n, fault.Unavailable.With("the file's server has sent nothing for %s", b.quiet)
	case b.ctx.Err() != nil:
		return n, b.ctx.Err()
	}
	return n, fault.Unavailable.With("the connection to the file's server broke").Wrap(err)
}

// Close ends the download.
func (b *body) Close() error {
	b.watch.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}
