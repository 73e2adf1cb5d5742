package rest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"

	"slipway.dev/pkg/fault"
)

// token reads the next token of a body. It refuses text with half a character, which encoding/json would replace, and protojson
// refuse without a name of the field.
func (c *checker) token() (json.Token, error) {
	tok, err := c.dec.Token()
	if text, ok := tok.(string); ok && strings.ContainsRune(text, utf8.RuneError) && halved(c.last()) {
		return nil, errHalved.On(string(c.path))
	}
	return tok, err
}

var errHalved = fault.Invalid.With(`text with half a character, such as \ud83d alone`)

// last returns the text that was read last, as it is written, without its last quote.
func (c *checker) last() []byte {
	raw := c.data[:c.dec.InputOffset()-1]
	for i := len(raw); i > 0; {
		i = bytes.LastIndexByte(raw[:i], '"')
		before := bytes.TrimRight(raw[:i], `\`)
		if (i-len(before))%2 == 0 {
			return raw[i+1:]
		}
	}
	return raw
}

// Escapes in texts: those of characters that consist of two, and of one half of them. A backslash that is itself escaped begins none.
var (
	wholes = regexp.MustCompile(`\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}`)
	half   = regexp.MustCompile(`\\u[dD][89a-fA-F]`)
)

// halved reports whether a text, as it is written, has one half of a character without the other.
func halved(raw []byte) bool { return half.Match(wholes.ReplaceAll(raw, []byte(" "))) }
