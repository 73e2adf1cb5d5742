package edge

import (
	"bufio"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"slipway.dev/gateway/internal/proxies"
)

// maxLogged is the greatest length of a client's text in a log line.
const maxLogged = 256

// report writes the line of a request, without its headers, query and body.
func (e *edge) report(r *http.Request, path string, rec *recorder, q *Request, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case rec.status >= http.StatusInternalServerError && rec.status != http.StatusServiceUnavailable,
		q.Err != nil && rec.status < http.StatusInternalServerError: // broken off
		level = slog.LevelError
	case path == "/healthz" || path == "/readyz":
		level = slog.LevelDebug
	}
	if !e.log.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("method", clip(r.Method)), slog.String("path", loggedPath(q.mount, path)),
		slog.Int("status", rec.status), slog.Duration("took", took), slog.Int64("bytes", rec.bytes),
		slog.String("request", q.ID), slog.String("client", q.Client), slog.Int64("account", int64(q.Account)),
	)
	if len(q.Ignored) > 0 {
		attrs = append(attrs, slog.String("ignored", clip(strings.Join(q.Ignored, " "))))
	}
	if q.Reason != "" {
		attrs = append(attrs, slog.String("reason", q.Reason))
	}
	if q.Err != nil {
		attrs = append(attrs, slog.String("err", q.Err.Error()))
	}
	e.log.LogAttrs(r.Context(), level, "http", attrs...)
}

// loggedPath returns the path of a request without credentials: those that the routes declare, and long segments that
// look like one, because a client may have mistyped the path.
func loggedPath(m *Mount, path string) string {
	if masked, ok := m.masked(path); ok {
		return clip(masked)
	}
	return clip(withoutTokens(path))
}

// longSegment is longer than any word of our paths.
const longSegment = 20

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// withoutTokens masks segments that look like credentials: long ones with digits, except UUIDs, which name objects.
func withoutTokens(path string) string {
	if len(path) <= longSegment {
		return path
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if len(s) >= longSegment && strings.ContainsAny(s, "0123456789") && !uuid.MatchString(s) {
			segments[i] = "***"
		}
	}
	return strings.Join(segments, "/")
}

func clip(s string) string {
	if len(s) > maxLogged {
		return strings.ToValidUTF8(s[:maxLogged], "") + "…"
	}
	return s
}

// recorder records the status and the size of the answer.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Hijack hands over the connection, for instance to a WebSocket handler, and records the switch of protocols.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// requestID returns the id that the client sent, if it is harmless, or a new one.
func requestID(came string) string {
	if len(came) == 0 || len(came) > 64 {
		return rand.Text()
	}
	for i := range len(came) {
		c := came[i]
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '-' || c == '_' || c == '.') {
			return rand.Text()
		}
	}
	return came
}

// userAgent returns the header cut and cleaned for gRPC metadata, which may hold only printable ASCII.
func userAgent(came string) string {
	if len(came) > maxLogged {
		came = came[:maxLogged]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, came)
}

// clientAddr returns the client's address: the last one that a trusted proxy saw, or the peer of the connection.
func clientAddr(r *http.Request, trusted *proxies.List) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	addr := peer.Addr().Unmap().WithZone("")
	if !trusted.Contains(addr) {
		return addr.String()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		if addr = hop.Unmap().WithZone(""); !trusted.Contains(addr) {
			break
		}
	}
	return addr.String()
}
