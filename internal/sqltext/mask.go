package sqltext

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/oneline"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// longestShown bounds, in bytes, what an error shows of one text.
const longestShown = 300

// OneLine returns a text fit for an error or a log: on one line, and short.
func OneLine(text string) string { return oneline.Text(text, longestShown) }

// Mask returns a statement on one line for people to read. Literals become "?",
// and comments are left out. Literals that are no secrets stay: the words of the
// isolation levels and binlog formats, and those in public.
func Mask(statement string, public ...string) string {
	if i := certain(statement); i < len(statement) {
		return Mask(statement[:i], public...) + " ?…"
	}
	var b strings.Builder
	end := 0
	for i, t := range tokenize(statement) {
		if i > 0 && t.start > end {
			b.WriteByte(' ')
		}
		switch {
		case t.isLiteral() && !isPublic(t, public):
			b.WriteByte('?')
		default:
			b.WriteString(statement[t.start:t.end])
		}
		end = t.end
	}
	return OneLine(b.String())
}

// MaskAnswer returns what a statement was answered with, without what the answer
// quotes of the statement. Names stay, because they say which variable is meant,
// and so do the literals in public.
func MaskAnswer(statement string, answer error, public ...string) string {
	if answer == nil {
		return ""
	}
	s := secretsOf(statement, public)
	serverErr, ok := errors.AsType[*mysql.MySQLError](answer)
	if !ok {
		text := answer.Error()
		if s.shownIn(text, len(text)) {
			text = withheld
		}
		return OneLine(text)
	}
	message := serverErr.Message
	open := s.firstForeignQuote(message)
	switch {
	case s.shownIn(message, open):
		message = withheld
	case open < len(message):
		// Nothing after it is shown. What is quoted can hold quotes itself, and servers
		// cut messages, even before the closing one.
		message = message[:open] + "'…'"
	}
	return OneLine(fmt.Sprintf("Error %d: %s", serverErr.Number, message))
}

const withheld = "(its message is withheld because it quotes the statement)"

// certain returns the length of the beginning in which it is certain what is a
// literal and what is not. Under NO_BACKSLASH_ESCAPES a literal ends at a quote
// that tokenize reads past.
func certain(statement string) int {
	if i := strings.IndexAny(statement, `'"`); i >= 0 && strings.Contains(statement, `\`) {
		return i
	}
	return len(statement)
}

// Literals returns the literals in a text, without the quotes around them.
func Literals(text string) []string {
	var literals []string
	for _, t := range tokenize(text) {
		if t.isLiteral() {
			literals = append(literals, t.unquoted())
		}
	}
	return literals
}

func (t token) isLiteral() bool { return t.kind == numberToken || t.kind == stringToken }

func (t token) unquoted() string {
	if t.kind != stringToken {
		return t.text
	}
	return strings.TrimSuffix(t.text[1:], t.text[:1])
}

// isPublic reports whether an error can show a literal.
func isPublic(t token, public []string) bool {
	if slices.Contains(public, t.unquoted()) {
		return true
	}
	if t.kind != stringToken {
		return false
	}
	text := strings.Trim(t.text, `'"`)
	_, isLevel := sysvar.ParseLevel(text)
	return isLevel || sysvar.ParseBinlogFormat(text) != "" || strings.EqualFold(text, sysvar.StatementFormatText)
}

// secrets are what an answer must not show of a statement.
type secrets struct {
	literals []string
	names    []string // can be shown even in quotes
	public   []string // literals that can be shown
}

func secretsOf(statement string, public []string) secrets {
	s := secrets{public: public}
	readings := [][]token{tokenize(statement)}
	code := certain(statement)
	if code < len(statement) {
		readings = append(readings, tokenizeAs(statement, false))
	}
	for _, toks := range readings {
		for i, t := range toks {
			switch {
			case t.kind == wordToken:
				introduces := i+1 < len(toks) && toks[i+1].kind == stringToken // as N does in N'…'
				if t.end <= code && !introduces {
					s.names = append(s.names, t.text)
				}
			case isPublic(t, public):
			case t.kind == numberToken:
				s.literals = append(s.literals, t.text)
			case t.kind == stringToken:
				quote, text := t.text[:1], t.unquoted()
				goQuoted := strconv.Quote(text) // as %q writes a statement
				s.literals = append(s.literals, text, unescape(quote).Replace(text), goQuoted[1:len(goQuoted)-1])
			}
		}
	}
	return s
}

// unescape makes a literal's value of its text, as far as the value can be
// recognised by it: not every escape is replaced.
func unescape(quote string) *strings.Replacer {
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\"`, `"`, quote+quote, quote, `\n`, "\n", `\t`, "\t", `\0`, "\x00")
}

// shortestPart is the length from which a part of a literal gives something away.
const shortestPart = 4

// shownIn reports whether a text holds a literal of the statement before an
// offset, or ends with the beginning of one.
func (s secrets) shownIn(text string, before int) bool {
	for _, literal := range s.literals {
		n := len(literal)
		if n < 2 {
			continue
		}
		if strings.Contains(text[:min(before+n-1, len(text))], literal) || endsWithPart(text, literal, before) {
			return true
		}
	}
	return false
}

// endsWithPart reports whether a text ends with the beginning of a literal: the
// server has cut its message there. Only a part that begins before an offset
// counts, and one that would be shown.
func endsWithPart(text, literal string, before int) bool {
	first := max(0, len(text)-len(literal)+1)
	last := min(before, longestShown, len(text)-shortestPart+1)
	for start := first; start < last; start++ {
		if strings.HasPrefix(literal, text[start:]) {
			return true
		}
	}
	return false
}

// firstForeignQuote returns the offset at which a message begins to quote
// something other than a name of the statement, or the message's length.
func (s secrets) firstForeignQuote(message string) int {
	for from := 0; ; {
		open := strings.IndexAny(message[from:], `'"`) // TiDB quotes with the latter
		if open < 0 {
			return len(message)
		}
		open += from
		quoted, rest, closed := strings.Cut(message[open+1:], message[open:open+1])
		switch {
		case closed && s.isName(quoted) && endsQuotation(rest):
			from = open + 1 + len(quoted) + 1
		case isApostrophe(message, open):
			from = open + 1
		default:
			return open
		}
	}
}

// endsQuotation reports whether a quotation ends before rest. If a word follows
// at once, the quote was one of a literal's: near 'x'686f…' at line 1.
func endsQuotation(rest string) bool {
	return rest == "" || strings.Contains(" ,.;:)", rest[:1])
}

// isApostrophe reports whether a quote stands inside a word, as in can't.
func isApostrophe(message string, at int) bool {
	return at > 0 && isWord(message[at-1]) && at+1 < len(message) && isWord(message[at+1])
}

func (s secrets) isName(quoted string) bool {
	for _, literal := range s.literals {
		if strings.EqualFold(literal, quoted) {
			return false
		}
	}
	for _, name := range s.names {
		if strings.EqualFold(name, quoted) {
			return true
		}
	}
	const clause = "field list" // where MySQL says that an unknown column stands
	return quoted == sysvar.StatementFormatText || quoted == clause || slices.Contains(s.public, quoted)
}
