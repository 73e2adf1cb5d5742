package edge

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// maxParams is the greatest number of parameters in a query.
const maxParams = 256

// ErrTooManyParams refuses a query with too many parameters. The edge drops no parameter, because a list without its
// where would be longer than requested.
var ErrTooManyParams = fault.New(codes.InvalidArgument, "TOO_MANY_PARAMETERS", "the query has too many parameters")

// Query parses the query of a URL as clients really send it: a % that begins no escape and a ; stand for themselves,
// + is a space. net/url refuses both, and with them the filters of half of the clients. An escape that is not valid
// UTF-8 is literal too, so that a raw '%admin%' keeps its meaning, although %ad is hexadecimal.
func Query(raw string) (url.Values, error) {
	v := url.Values{}
	for n := 0; raw != ""; {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		if n++; n > maxParams {
			return nil, ErrTooManyParams.With("the query has more than %d parameters", maxParams)
		}
		key, value, _ := strings.Cut(pair, "=")
		key = unescape(key)
		v[key] = append(v[key], unescape(value))
	}
	return v, nil
}

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b.WriteByte(' ')
		case c == '%':
			char, n := escaped(s[i:])
			if n == 0 {
				char, n = "%", 1
			}
			b.WriteString(char)
			i += n - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// escaped returns the character that s begins with in escaped form, and the length of that form; 0 if there is none.
func escaped(s string) (string, int) {
	var buf [utf8.UTFMax]byte
	n := 0
	for n < len(buf) && len(s) >= 3*n+3 && s[3*n] == '%' && isHex(s[3*n+1]) && isHex(s[3*n+2]) {
		buf[n] = hex(s[3*n+1])<<4 | hex(s[3*n+2])
		n++
	}
	if n == 0 {
		return "", 0
	}
	r, size := utf8.DecodeRune(buf[:n])
	if r == utf8.RuneError && size == 1 {
		return "", 0
	}
	return string(buf[:size]), 3 * size
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }

func hex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
