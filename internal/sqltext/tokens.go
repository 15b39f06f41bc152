// Package sqltext reads SQL text just far enough to tell names from literals. It
// finds what a SET assigns, what a statement can do to its session, and the
// literals that an error must not show. It is not a parser: if it cannot tell,
// it returns the answer that is safe for its callers.
package sqltext

import "strings"

type tokenKind byte

const (
	wordToken   tokenKind = iota // a keyword, a name, or a name in backticks (text without them)
	stringToken                  // '…' or "…" (text as written, quotes included)
	numberToken                  // 42, 0xff, 1e3
	punctToken                   // one other character
)

type token struct {
	kind       tokenKind
	text       string
	start, end int // byte offsets in the statement
}

func (t token) is(words ...string) bool {
	if t.kind != wordToken {
		return false
	}
	for _, w := range words {
		if strings.EqualFold(t.text, w) {
			return true
		}
	}
	return false
}

func (t token) punct(c byte) bool { return t.kind == punctToken && t.text[0] == c }

// tokenize splits a statement. White space and comments are left out, but the
// inside of an executable comment (/*! … */, /*M! … */) counts as code. Escapes
// are read as under the default sql_mode: a backslash escapes.
func tokenize(sql string) []token { return tokenizeAs(sql, true) }

// tokenizeAs can also read as under NO_BACKSLASH_ESCAPES.
func tokenizeAs(sql string, backslash bool) []token {
	var toks []token
	for i := 0; i < len(sql); {
		start := i
		switch c := sql[i]; {
		case isSpace(c):
			i++
		case c == '#', strings.HasPrefix(sql[i:], "--") && (i+2 == len(sql) || sql[i+2] <= ' '):
			i = after(sql, i, "\n")
		case strings.HasPrefix(sql[i:], "/*!"), strings.HasPrefix(sql[i:], "/*M!"):
			i += strings.IndexByte(sql[i:], '!') + 1
			for i < len(sql) && isDigit(sql[i]) {
				i++
			}
		case strings.HasPrefix(sql[i:], "/*"):
			i = after(sql, i+2, "*/")
		case strings.HasPrefix(sql[i:], "*/"):
			i += 2 // the end of an executable comment
		case c == '\'' || c == '"':
			i = closingQuote(sql, i, c, backslash)
			toks = append(toks, token{stringToken, sql[start:i], start, i})
		case c == '`':
			i = closingQuote(sql, i, c, false)
			name := strings.ReplaceAll(strings.Trim(sql[start:i], "`"), "``", "`")
			toks = append(toks, token{wordToken, name, start, i})
		case isWord(c):
			for i < len(sql) && isWord(sql[i]) {
				i++
			}
			kind := wordToken
			if isDigit(c) {
				kind = numberToken
			}
			toks = append(toks, token{kind, sql[start:i], start, i})
		default:
			i++
			toks = append(toks, token{punctToken, sql[start:i], start, i})
		}
	}
	return toks
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// after returns the offset just after the next end, or the length of sql.
func after(sql string, from int, end string) int {
	if n := strings.Index(sql[from:], end); n >= 0 {
		return from + n + len(end)
	}
	return len(sql)
}

// closingQuote returns the offset just after the quoted text that begins at
// open. A doubled quote stands for itself.
func closingQuote(sql string, open int, quote byte, backslash bool) int {
	for i := open + 1; i < len(sql); i++ {
		switch {
		case backslash && sql[i] == '\\':
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(sql)
}

// splitTop cuts at each separator that stands outside parentheses.
func splitTop(toks []token, separator byte) [][]token {
	var items [][]token
	depth, start := 0, 0
	for i, t := range toks {
		switch {
		case t.punct('('):
			depth++
		case t.punct(')'):
			depth--
		case t.punct(separator) && depth == 0:
			items = append(items, toks[start:i])
			start = i + 1
		}
	}
	return append(items, toks[start:])
}
