// Package where parses the filter language of the dialects, where, orderby and limit, into query.v1. It knows the
// syntax but not the fields: a service declares which fields can be filtered.
package where

import (
	"strings"
	"unicode/utf8"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
)

// Limits of one filter. Services have limits of their own; these keep the gateway from building filters that no
// service accepts.
const (
	maxDepth    = 32
	maxCompares = 1000
)

// Parse reads one condition. Empty text means all rows and yields nil.
//
//	expr    = and { "OR" and }
//	and     = not { "AND" not }
//	not     = { "NOT" } ( "(" expr ")" | compare )
//	compare = field ( "IS" [ "NOT" ] "null" | operator value )
//
// Keywords come in any case. A value is text in single quotes, in which \' and ” stand for a quote and \\ for a
// backslash, or anything else up to a space or bracket.
func Parse(text string) (*querypb.Expr, error) {
	p := parser{text: text}
	if i := badByte(text); i >= 0 {
		return nil, p.fail(i, "UTF-8 text without zero bytes")
	}
	if p.space(); p.end() {
		return nil, nil
	}
	e, err := p.expr(0)
	if err != nil {
		return nil, err
	}
	if p.space(); !p.end() {
		return nil, p.fail(p.pos, "AND, OR or the end")
	}
	return e, nil
}

// badByte returns the position of the first byte that a database cannot store; -1 for none.
func badByte(text string) int {
	for i, r := range text {
		if r == 0 {
			return i
		}
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}

type parser struct {
	text     string
	pos      int
	compares int
}

func (p *parser) expr(depth int) (*querypb.Expr, error) {
	list, err := p.chain("OR", func() (*querypb.Expr, error) {
		list, err := p.chain("AND", func() (*querypb.Expr, error) { return p.not(depth) })
		return And(list...), err
	})
	return or(list...), err
}

// chain reads operands by next, separated by word.
func (p *parser) chain(word string, next func() (*querypb.Expr, error)) ([]*querypb.Expr, error) {
	var list []*querypb.Expr
	for {
		e, err := next()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if p.space(); !p.keyword(word) {
			return list, nil
		}
	}
}

func (p *parser) not(depth int) (*querypb.Expr, error) {
	if depth > maxDepth {
		return nil, fault.Invalid.With("nested deeper than %d at %d", maxDepth, p.pos).On("where")
	}
	p.space()
	if p.keyword("NOT") {
		e, err := p.not(depth + 1)
		return Not(e), err
	}
	if !p.take('(') {
		return p.compare()
	}
	e, err := p.expr(depth + 1)
	if err != nil {
		return nil, err
	}
	if p.space(); !p.take(')') {
		return nil, p.fail(p.pos, "AND, OR or )")
	}
	return e, nil
}

func (p *parser) compare() (*querypb.Expr, error) {
	if p.compares++; p.compares > maxCompares {
		return nil, fault.Invalid.With("more than %d comparisons", maxCompares).On("where")
	}
	start := p.pos
	field := p.run(isField)
	if field == "" {
		return nil, p.fail(start, "a field name, NOT or (")
	}
	c := &querypb.Compare{Field: field, Position: clamp.Int32(start)}
	p.space()
	at := p.pos
	word := p.run(isLetter)
	if strings.EqualFold(word, "IS") {
		return p.null(c)
	}
	op, ok := operators[strings.ToUpper(word)]
	if !ok {
		return nil, p.fail(at, "EQ, NE, GT, GE, LT, LE, CP or IS")
	}
	c.Operator = op
	p.space()
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	c.Value = v
	return &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: c}}, nil
}

var operators = map[string]querypb.Operator{
	"EQ": querypb.Operator_OPERATOR_EQ,
	"NE": querypb.Operator_OPERATOR_NE,
	"GT": querypb.Operator_OPERATOR_GT,
	"GE": querypb.Operator_OPERATOR_GE,
	"LT": querypb.Operator_OPERATOR_LT,
	"LE": querypb.Operator_OPERATOR_LE,
	"CP": querypb.Operator_OPERATOR_CP,
}

func (p *parser) null(c *querypb.Compare) (*querypb.Expr, error) {
	c.Operator = querypb.Operator_OPERATOR_IS_NULL
	e := &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: c}}
	p.space()
	if p.keyword("NOT") {
		e = Not(e)
		p.space()
	}
	if !p.keyword("NULL") {
		return nil, p.fail(p.pos, "null or NOT null")
	}
	return e, nil
}

func (p *parser) value() (string, error) {
	start := p.pos
	if !p.take('\'') {
		if v := p.run(isBare); v != "" {
			return v, nil
		}
		return "", p.fail(start, "a value")
	}
	var b strings.Builder
	for !p.end() {
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == '\\' && !p.end() && (p.text[p.pos] == '\'' || p.text[p.pos] == '\\'):
			b.WriteByte(p.text[p.pos])
			p.pos++
		case c != '\'':
			b.WriteByte(c)
		case !p.take('\''):
			return b.String(), nil
		default:
			b.WriteByte('\'')
		}
	}
	return "", p.fail(start, "text with a closing quote")
}

// keyword consumes word if it is the next word.
func (p *parser) keyword(word string) bool {
	end := p.pos + len(word)
	if end > len(p.text) || !strings.EqualFold(p.text[p.pos:end], word) || end < len(p.text) && isField(p.text[end]) {
		return false
	}
	p.pos = end
	return true
}

func (p *parser) take(c byte) bool {
	if p.end() || p.text[p.pos] != c {
		return false
	}
	p.pos++
	return true
}

func (p *parser) run(in func(byte) bool) string {
	start := p.pos
	for !p.end() && in(p.text[p.pos]) {
		p.pos++
	}
	return p.text[start:p.pos]
}

func (p *parser) space()    { p.run(isSpace) }
func (p *parser) end() bool { return p.pos == len(p.text) }

// fail returns a fault that names the expected token and what is at the position.
func (p *parser) fail(at int, expected string) error {
	rest := p.text[at:]
	there := "the end"
	if rest != "" {
		if i := strings.IndexFunc(rest, func(r rune) bool { return r <= ' ' }); i > 0 {
			rest = rest[:i]
		}
		there = quote(rest)
	}
	return fault.Invalid.With("expected %s at %d, found %s", expected, at, there).On("where")
}

func isSpace(c byte) bool  { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isField(c byte) bool  { return isLetter(c) || '0' <= c && c <= '9' || c == '_' || c == '.' }
func isBare(c byte) bool   { return !isSpace(c) && c != '(' && c != ')' }
