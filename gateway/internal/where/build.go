package where

import (
	"fmt"
	"strings"
	"unicode/utf8"

	querypb "slipway.dev/proto/query/v1"
)

// And joins conditions; those that are nil do not count. One is itself, none is nil.
func And(list ...*querypb.Expr) *querypb.Expr {
	if list = present(list); len(list) < 2 {
		return first(list)
	}
	return &querypb.Expr{Kind: &querypb.Expr_And{And: &querypb.Exprs{List: list}}}
}

func or(list ...*querypb.Expr) *querypb.Expr {
	if list = present(list); len(list) < 2 {
		return first(list)
	}
	return &querypb.Expr{Kind: &querypb.Expr_Or{Or: &querypb.Exprs{List: list}}}
}

// Not turns a condition round.
func Not(e *querypb.Expr) *querypb.Expr {
	if e == nil {
		return nil
	}
	return &querypb.Expr{Kind: &querypb.Expr_Not{Not: e}}
}

func present(list []*querypb.Expr) []*querypb.Expr {
	out := list[:0:0]
	for _, e := range list {
		if e != nil {
			out = append(out, e)
		}
	}
	return out
}

func first(list []*querypb.Expr) *querypb.Expr {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// Print writes a condition so that Parse reads the same.
func Print(e *querypb.Expr) string {
	switch k := e.GetKind().(type) {
	case *querypb.Expr_And:
		return printList(k.And.GetList(), " AND ")
	case *querypb.Expr_Or:
		return printList(k.Or.GetList(), " OR ")
	case *querypb.Expr_Not:
		return "NOT " + Print(k.Not)
	case *querypb.Expr_Compare:
		c := k.Compare
		if c.GetOperator() == querypb.Operator_OPERATOR_IS_NULL {
			return c.GetField() + " IS null"
		}
		op := strings.TrimPrefix(c.GetOperator().String(), "OPERATOR_")
		return c.GetField() + " " + op + " '" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(c.GetValue()) + "'"
	default:
		return ""
	}
}

func printList(list []*querypb.Expr, with string) string {
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = Print(e)
	}
	return "(" + strings.Join(parts, with) + ")"
}

// quote shows a piece of a client's text in a message: short, and printable whatever it holds.
func quote(s string) string {
	const most = 20
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
