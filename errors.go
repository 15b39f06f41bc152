package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server error numbers that decide something here. MySQL documents them in its
// error message reference, MariaDB in its list of error codes.
const (
	errUnknownColumn   = 1054 // ER_BAD_FIELD_ERROR: a word that is taken for a column
	errParse           = 1064 // ER_PARSE_ERROR
	errUnknown         = 1105 // ER_UNKNOWN_ERROR: all that Dolt and go-mysql-server answer
	errUnknownVariable = 1193 // ER_UNKNOWN_SYSTEM_VARIABLE
	errAccessDenied    = 1227 // ER_SPECIFIC_ACCESS_DENIED_ERROR: a privilege is missing
	errGlobalVariable  = 1229 // ER_GLOBAL_VARIABLE: has no session value
	errWrongValue      = 1231 // ER_WRONG_VALUE_FOR_VAR
	errReadOnlyVar     = 1238 // ER_INCORRECT_GLOBAL_LOCAL_VAR: read only, or of the other scope
)

// InitError says why a connection could not be prepared. The connection was
// closed. It is found with errors.As, as is the server's [*mysql.MySQLError].
type InitError struct {
	// Statement is the statement that failed, its literals replaced by "?".
	Statement string
	// Reason says what went wrong, in this package's words.
	Reason string
	// Cure says what to do about it; it may be empty.
	Cure string
	// Err is the server's or the network's error. It may quote literals of the
	// statement, which Error does not. It is never driver.ErrBadConn, which
	// would make database/sql connect again at once, twice.
	Err error

	answer string // Err's text, without what it quotes of the statement
}

// Error gives reason, statement, the server's answer and the cure in one line,
// without any literal of the statement.
func (e *InitError) Error() string {
	var b strings.Builder
	b.WriteString("mysqlinit: " + e.Reason)
	if e.Statement != "" {
		b.WriteString(": " + e.Statement)
	}
	if e.answer != "" {
		b.WriteString(": " + e.answer)
	}
	if e.Cure != "" {
		b.WriteString(". Cure: " + e.Cure)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *InitError) Unwrap() error { return e.Err }

func newInitError(statement, reason, cure string, err error) *InitError {
	err = withoutBadConn(err)
	return &InitError{Statement: maskLiterals(statement), Reason: reason, Cure: cure, Err: err, answer: maskedAnswer(statement, err)}
}

// mask is what an answer may show of a statement, and what it may not.
type mask struct {
	literals []string
	names    []string // may be shown though quoted
}

func newMask(statement string) (m mask) {
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
					m.names = append(m.names, t.text)
				}
			case t.kind == numberToken:
				m.literals = append(m.literals, t.text)
			case t.kind == stringToken && !isPublicLiteral(t.text):
				quote := t.text[:1]
				text := strings.TrimSuffix(t.text[1:], quote)
				goQuoted := strconv.Quote(text) // as %q writes a statement
				m.literals = append(m.literals, text, unescape(quote).Replace(text), goQuoted[1:len(goQuoted)-1])
			}
		}
	}
	return m
}

// unescape gives a literal's value, for those escapes that a value may be
// recognised without.
func unescape(quote string) *strings.Replacer {
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\"`, `"`, quote+quote, quote, `\n`, "\n", `\t`, "\t", `\0`, "\x00")
}

// maskedAnswer is an answer without what it quotes of the statement, names
// excepted: they tell which variable is meant.
func maskedAnswer(statement string, err error) string {
	if err == nil {
		return ""
	}
	m := newMask(statement)
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		text := err.Error()
		if m.showsLiteral(text, len(text)) {
			text = withheld
		}
		return oneLine(text)
	}
	message := serverErr.Message
	open := m.firstForeignQuote(message)
	switch {
	case m.showsLiteral(message, open):
		message = withheld
	case open < len(message):
		// Nothing behind it is shown: what is quoted may hold quotes itself, and
		// servers cut messages, also before the closing one.
		message = message[:open] + "'…'"
	}
	return oneLine(fmt.Sprintf("Error %d: %s", serverErr.Number, message))
}

const withheld = "(its message is withheld, for it quotes the statement)"

// shortestPart is the length from which a part of a literal gives something away.
const shortestPart = 4

// showsLiteral tells whether a text holds a literal of the statement before an
// offset, or ends with the beginning of one.
func (m mask) showsLiteral(text string, before int) bool {
	for _, literal := range m.literals {
		n := len(literal)
		if n < 2 {
			continue
		}
		if strings.Contains(text[:min(before+n-1, len(text))], literal) {
			return true
		}
		for start := max(0, len(text)-n+1); start < min(before, longestShown, len(text)-shortestPart+1); start++ {
			if strings.HasPrefix(literal, text[start:]) {
				return true
			}
		}
	}
	return false
}

// firstForeignQuote returns where a message begins to quote something other
// than a name of the statement, or its length.
func (m mask) firstForeignQuote(message string) int {
	for from := 0; ; {
		open := strings.IndexAny(message[from:], `'"`) // TiDB quotes with the latter
		if open < 0 {
			return len(message)
		}
		open += from
		quoted, behind, closed := strings.Cut(message[open+1:], message[open:open+1])
		// What goes on behind the closing quote is a literal's: near 'x'686f…' at line 1.
		if !closed || !m.isName(quoted) || behind != "" && !strings.Contains(" ,.;:)", behind[:1]) {
			// An apostrophe inside a word, as in can't, quotes nothing.
			if open > 0 && isWord(message[open-1]) && open+1 < len(message) && isWord(message[open+1]) {
				from = open + 1
				continue
			}
			return open
		}
		from = open + 1 + len(quoted) + 1
	}
}

func (m mask) isName(quoted string) bool {
	for _, literal := range m.literals {
		if strings.EqualFold(literal, quoted) {
			return false
		}
	}
	for _, name := range m.names {
		if strings.EqualFold(name, quoted) {
			return true
		}
	}
	return quoted == statementFormatText
}

// errLost stands for driver.ErrBadConn, which Connect must not return:
// database/sql would call it three times over.
var errLost = errors.New("the connection was lost, or (with rejectReadOnly) the server is read-only")

func withoutBadConn(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return errLost
	}
	return err
}

// timeoutError is what the end of connectTimeout gives.
type timeoutError struct {
	after time.Duration
	phase phase
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("mysqlinit: connectTimeout of %v ended while %s; if the server is only slow, raise connectTimeout (WithConnectTimeout)", e.after, e.phase)
}

func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }

// Is makes it a context.DeadlineExceeded, as the net package's timeouts are.
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }
