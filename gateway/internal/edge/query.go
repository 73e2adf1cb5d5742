package edge

import (
	"net/url"
	"slices"
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

// Parameters are the parameters of a query that the edge reads in a way of their own.
type Parameters struct {
	// Several may be given more than once. Any other parameter has one value, because programs in front of the gateway
	// may read another one of two.
	Several []string
	// Raw may hold a % that begins no escape, which stands for itself.
	Raw []string
}

// Query parses the query of a URL as clients really send it: + is a space, and a ; stands for itself. net/url refuses
// that, and with it the filters of some clients. In a raw parameter an escape that is not valid UTF-8 is literal too, so
// that a raw '%admin%' keeps its meaning, although %ad is hexadecimal. Query refuses other malformed escapes.
func Query(raw string, of Parameters) (url.Values, error) {
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
		key, sound := unescape(key)
		if !sound {
			return nil, fault.Invalid.With("the name of a parameter has a malformed escape: a %% is written as %%25")
		}
		if value, sound = unescape(value); !sound && !slices.Contains(of.Raw, key) {
			return nil, parameterFault(key, "a malformed escape: a % is written as %25")
		}
		if v.Has(key) && !slices.Contains(of.Several, key) {
			return nil, parameterFault(key, "the parameter is given more than once")
		}
		v[key] = append(v[key], value)
	}
	return v, nil
}

// maxName is the greatest length of the name of a parameter in an error.
const maxName = 40

// parameterFault returns the fault of a parameter, which names it unless the name is none of ours.
func parameterFault(name, msg string) error {
	f := fault.Invalid.With("%s", msg)
	word := func(r rune) bool {
		return r == '_' || r == '.' || 'a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9'
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !word(r) }) {
		return f
	}
	return f.On(name)
}

// unescape returns the text of s, in which a malformed escape stands for itself, and false if s has one.
func unescape(s string) (text string, sound bool) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, utf8.ValidString(s)
	}
	sound = utf8.ValidString(s)
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b.WriteByte(' ')
		case c == '%':
			char, n := escaped(s[i:])
			if n == 0 {
				char, n, sound = "%", 1, false
			}
			b.WriteString(char)
			i += n - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), sound
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
