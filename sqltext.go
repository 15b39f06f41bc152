package mysqlinit

import (
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/oneline"
)

// This file reads SQL text just far enough to tell names from literals. It is
// used to find what an init command sets, and to print a statement without
// the literals in it. It is no parser: what it cannot tell, its callers take
// for the case that is safe.

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
// inside of an executable comment (/*! … */, /*M! … */) counts as code.
// Escapes are read as the default sql_mode has them: a backslash escapes.
func tokenize(sql string) []token { return tokenizeAs(sql, true) }

// tokenizeAs also reads as under NO_BACKSLASH_ESCAPES.
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

// after returns the offset behind the next end, or the length of sql.
func after(sql string, from int, end string) int {
	if n := strings.Index(sql[from:], end); n >= 0 {
		return from + n + len(end)
	}
	return len(sql)
}

// closingQuote returns the offset behind the quoted text that begins at open.
// A doubled quote stands for itself.
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

// assignment is one item of a SET statement.
type assignment struct {
	scope string // "", "session", "local", "global", …, in lower case
	bare  bool   // written @@name: for the isolation variables, the next transaction only
	name  string // in lower case; "" where it is no plain variable, as in SET NAMES
	value []token
}

// assignments returns the items of a SET statement, and nil for any other.
// SET SESSION TRANSACTION … is one item with the name "transaction" and the
// words behind it as its value.
func assignments(toks []token) []assignment {
	if len(toks) == 0 || !toks[0].is("SET") {
		return nil
	}
	var items []assignment
	scope := "" // a scope word also holds for the items after it
	rest := toks[1:]
	for _, item := range splitTop(rest, ',') {
		behind := rest
		rest = rest[min(len(item)+1, len(rest)):]
		var a assignment
		switch {
		case len(item) >= 2 && item[0].punct('@') && item[1].punct('@'):
			item = item[2:]
			if len(item) >= 2 && item[1].punct('.') && isScope(item[0]) {
				a.scope = strings.ToLower(item[0].text)
				item = item[2:]
			} else {
				a.bare = true
			}
		case len(item) >= 2 && isScope(item[0]) && item[1].kind == wordToken:
			scope = strings.ToLower(item[0].text)
			a.scope = scope
			item = item[1:]
		default:
			a.scope = scope
		}
		switch {
		case len(item) > 0 && item[0].is("TRANSACTION"):
			// Commas part its characteristics, not items.
			for !behind[0].is("TRANSACTION") {
				behind = behind[1:]
			}
			a.name, a.value = "transaction", behind[1:]
			return append(items, a)
		case len(item) >= 2 && item[0].kind == wordToken && item[1].punct('='):
			a.name, a.value = strings.ToLower(item[0].text), item[2:]
		case len(item) >= 3 && item[0].kind == wordToken && item[1].punct(':') && item[2].punct('='):
			a.name, a.value = strings.ToLower(item[0].text), item[3:]
		}
		items = append(items, a)
	}
	return items
}

func isScope(t token) bool {
	return t.is("SESSION", "LOCAL", "GLOBAL", "PERSIST", "PERSIST_ONLY")
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

// certain returns how far it is certain what is a literal and what is not. Under
// NO_BACKSLASH_ESCAPES a literal ends where tokenize reads on.
func certain(sql string) int {
	if i := strings.IndexAny(sql, `'"`); i >= 0 && strings.Contains(sql, `\`) {
		return i
	}
	return len(sql)
}

// maskLiterals returns the statement on one line for people to read: literals
// are replaced by "?", comments are dropped. The words of the isolation levels
// and binlog formats, which are nobody's secret, are kept.
func maskLiterals(sql string) string {
	if i := certain(sql); i < len(sql) {
		return maskLiterals(sql[:i]) + " ?…"
	}
	var b strings.Builder
	end := 0
	for i, t := range tokenize(sql) {
		if i > 0 && t.start > end {
			b.WriteByte(' ')
		}
		switch {
		case t.kind == numberToken, t.kind == stringToken && !isPublicLiteral(t.text):
			b.WriteByte('?')
		default:
			b.WriteString(sql[t.start:t.end])
		}
		end = t.end
	}
	return oneLine(b.String())
}

func isPublicLiteral(quoted string) bool {
	text := strings.ToUpper(strings.Trim(quoted, `'"`))
	switch text {
	case "ROW", "MIXED", "STATEMENT", strings.ToUpper(statementFormatText):
		return true
	}
	_, ok := levelByName(text)
	return ok
}

// longestShown bounds, in bytes, what an error shows of one text.
const longestShown = 300

func oneLine(text string) string { return oneline.Text(text, longestShown) }
