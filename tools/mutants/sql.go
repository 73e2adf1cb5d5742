package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// edit replaces a part of a text.
type edit struct {
	begin, end int
	text       string
}

var isSQL = regexp.MustCompile(`\b(SELECT|UPDATE|DELETE|INSERT|WHERE|JOIN|EXISTS|AND|ON CONFLICT)\b`)

// token of SQL: a word, an operator or a parenthesis, with its place and the depth of parentheses around it.
type sqlToken struct {
	begin, end, depth int
	text              string
}

var sqlWord = regexp.MustCompile(`--[^\n]*|'[^']*'|[A-Za-z_][A-Za-z_0-9.]*|[$][$]|[$]?[0-9]+|<=|>=|<>|<@|<<|>>|\|\||::|->>|->|[^\s]`)

// sqlTokens returns the tokens of a text without comments.
func sqlTokens(s string) (list []sqlToken) {
	depth := 0
	for _, at := range sqlWord.FindAllStringIndex(s, -1) {
		word := s[at[0]:at[1]]
		if strings.HasPrefix(word, "--") {
			continue
		}
		if word == ")" {
			depth--
		}
		list = append(list, sqlToken{at[0], at[1], depth, word})
		if word == "(" {
			depth++
		}
	}
	return list
}

// predicateEnds are the words at which a predicate ends, besides AND and OR.
var predicateEnds = strings.Fields("WHERE ORDER GROUP LIMIT FOR RETURNING HAVING WINDOW UNION ON LEFT JOIN CROSS THEN WHEN " +
	"ELSE END LOOP DO SET ; , OFFSET")

// sqlEdits returns the mistakes that are planted in SQL: predicates that are gone, comparisons of the wrong kind, locks
// that are not taken.
func sqlEdits(s string) (list []edit) {
	if !isSQL.MatchString(s) {
		return nil
	}
	tokens := sqlTokens(s)
	for i, t := range tokens {
		switch t.text {
		case "WHERE", "AND":
			if t.text == "AND" && between(tokens[:i]) {
				continue
			}
			end := predicateEnd(s, tokens, i)
			if strings.TrimSpace(s[t.end:end]) == "" {
				continue // the rest is added by code
			}
			list = append(list, withoutPredicate(t, end), comparison(tokens, i, end))
		case "OR", "ON", "WHEN":
			list = append(list, comparison(tokens, i, predicateEnd(s, tokens, i)))
		case "NOT":
			list = append(list, edit{t.begin, t.end, ""})
		case "FOR":
			list = append(list, withoutLock(tokens[i:]))
		case "SKIP":
			if next(tokens, i) == "LOCKED" {
				list = append(list, edit{t.begin, tokens[i+1].end, ""})
			}
		case "DESC":
			list = append(list, edit{t.begin, t.end, "ASC"})
		case "least":
			list = append(list, edit{t.begin, t.end, "greatest"})
		case "greatest":
			list = append(list, edit{t.begin, t.end, "least"})
		case "+", "-":
			if i > 0 && next(tokens, i) != "" && next(tokens, i) != ">" {
				list = append(list, edit{t.begin, t.end, map[string]string{"+": "-", "-": "+"}[t.text]})
			}
		}
	}
	return slices.DeleteFunc(list, func(e edit) bool { return e.end == 0 })
}

func next(tokens []sqlToken, i int) string {
	if i+1 < len(tokens) {
		return tokens[i+1].text
	}
	return ""
}

// between reports whether the AND that follows belongs to a BETWEEN.
func between(before []sqlToken) bool {
	for _, t := range slices.Backward(before) {
		switch t.text {
		case "BETWEEN":
			return true
		case "AND", "WHERE", "OR", "ON", "(":
			return false
		}
	}
	return false
}

// predicateEnd returns where the predicate after token i ends.
func predicateEnd(s string, tokens []sqlToken, i int) int {
	depth, ranged := tokens[i].depth, false
	for _, t := range tokens[i+1:] {
		switch {
		case t.depth < depth:
			return t.begin
		case t.depth > depth || t.text == "(":
			continue
		case t.text == "BETWEEN":
			ranged = true
		case t.text == "AND" && ranged:
			ranged = false
		case t.text == "AND", t.text == "OR", slices.Contains(predicateEnds, t.text):
			return t.begin
		}
	}
	return len(s)
}

// withoutPredicate removes the predicate after an AND or a WHERE.
func withoutPredicate(t sqlToken, end int) edit {
	if t.text == "AND" {
		return edit{t.begin, end, ""}
	}
	return edit{t.end, end, " true "}
}

var (
	otherComparison = map[string]string{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "=": "<>", "<>": "="}
	// otherOfTime has what stands for a comparison with now(): no test can meet the very moment.
	otherOfTime = map[string]string{"<": ">", "<=": ">", ">": "<", ">=": "<"}
)

// comparison exchanges the first comparison of the predicate after token i.
func comparison(tokens []sqlToken, i, end int) (e edit) {
	timed := false
	for _, t := range tokens[i+1:] {
		if t.begin >= end {
			break
		}
		timed = timed || t.text == "now"
		if op := otherComparison[t.text]; op != "" && t.depth == tokens[i].depth && e.end == 0 {
			e = edit{t.begin, t.end, op}
		}
	}
	for _, t := range tokens {
		if op := otherOfTime[t.text]; timed && op != "" && t.begin == e.begin {
			e.text = op
		}
	}
	return e
}

// withoutLock removes FOR UPDATE and its kin.
func withoutLock(tokens []sqlToken) edit {
	for i, t := range tokens[:min(4, len(tokens))] {
		if t.text == "UPDATE" || t.text == "SHARE" {
			end := t.end
			if next(tokens, i) == "OF" && i+2 < len(tokens) {
				end = tokens[i+2].end
			}
			if i+1 < len(tokens) && slices.Contains([]string{"SKIP", "NOWAIT"}, next(tokens, i)) {
				return edit{} // what follows would be no SQL
			}
			return edit{tokens[0].begin, end, ""}
		}
	}
	return edit{}
}

var functionBody = regexp.MustCompile(`(?s)CREATE (?:OR REPLACE )?FUNCTION (\w+).*?AS \$\$(.*?)\$\$`)

// functionSites returns the mutants of the functions that a file of SQL creates: tables and indexes have no tests of
// their own. called reports whether a function is still used; the program of the version before may call others.
func functionSites(file string, source []byte, called func(name string) bool) (list []mutant) {
	for _, at := range functionBody.FindAllSubmatchIndex(source, -1) {
		name, body := string(source[at[2]:at[3]]), string(source[at[4]:at[5]])
		if !called(name) && strings.Count(string(source), name+"(") < 2 {
			continue
		}
		for _, e := range sqlEdits(body) {
			begin := at[4] + e.begin
			list = append(list, mutant{
				file: file, source: source, function: name, line: 1 + bytes.Count(source[:begin], []byte("\n")),
				begin: begin, end: at[4] + e.end, text: e.text,
			})
		}
	}
	return list
}
