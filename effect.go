package mysqlinit

import "strings"

// This file tells from a statement's text what it may do to its session, for
// the guard. It does not parse: what it does not know it takes for the worst.

// effect is what a statement may leave behind in its session.
type effect uint8

const (
	setsVariable  effect = 1 << iota // some variable: restored by the one SET, where that sets it
	setsIsolation                    // the isolation level, of the session or of the next transaction
	setsBinlog                       // the binlog format
	opensOrHides                     // an open transaction, or whatever a statement does that is not in this text
	sticks                           // what no SET of ours restores
	namesDatabase                    // in DROP and its like: the current one may be gone
)

// leadingWords are the words that begin a statement which leaves its session as
// it was, whatever follows. Not among them are all that are rare: a connection
// is closed for nothing then, no more.
var leadingWords = wordSet("select insert update delete replace with values table do " +
	"show explain describe desc help kill load truncate rename grant revoke " +
	"analyze optimize check checksum repair savepoint release")

// readOnWords begin statements whose further words tell, ddlWords those where
// only the name of a kind of object does.
var (
	readOnWords = wordSet("set commit rollback")
	ddlWords    = wordSet("create alter drop")
)

func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// wordEffects are the words that change a session where they are a statement's
// first, or stand in a SET or COMMIT; elsewhere they are a false alarm.
var wordEffects = map[string]effect{
	"set":                   setsVariable,
	"transaction":           setsIsolation,
	"transaction_isolation": setsIsolation,
	"tx_isolation":          setsIsolation,
	"binlog_format":         setsBinlog,

	"begin": opensOrHides,
	"start": opensOrHides,
	"chain": opensOrHides, // COMMIT AND CHAIN
	"call":  opensOrHides,

	"execute":         sticks, // also EXECUTE IMMEDIATE: any text, USE and SET autocommit among them
	"use":             sticks,
	"lock":            sticks,
	"xa":              sticks,
	"autocommit":      sticks,
	"completion_type": sticks, // makes each COMMIT open a transaction

	"database": namesDatabase,
	"schema":   namesDatabase,

	// The access mode, READ ONLY, may be that of the next transaction.
	"only":                  sticks,
	"transaction_read_only": sticks,
	"tx_read_only":          sticks,

	// The character set of the connection, which the DSN's charset and collation
	// choose.
	"names":                    sticks,
	"charset":                  sticks,
	"character":                sticks,
	"character_set_client":     sticks,
	"character_set_connection": sticks,
	"character_set_results":    sticks,
	"collation_connection":     sticks,
}

// effectOf tells what a query may do. With multi it may be several statements.
// Each begins behind a ';', and so every ';' counts, though some stand in a literal
// or a comment: where those end depends on sql_mode, character set and version.
func effectOf(query string, multi bool) (e effect) {
	if !multi {
		return effectOfOne(query)
	}
	for one := range strings.SplitSeq(query, ";") {
		e |= effectOfOne(one)
	}
	return e
}

// beginning is how a statement begins.
type beginning byte

const (
	unknown  beginning = iota
	harmless           // whatever follows
	readOn             // its further words tell
	ddl                // only the name of a kind of object tells
)

func beginningOf(statement string) beginning {
	start := skipComments(statement)
	if start == len(statement) || statement[start] == '(' { // nothing; (SELECT …) UNION …
		return harmless
	}
	return beginningAt(statement, start)
}

func beginningAt(statement string, start int) beginning {
	end := start
	for end < len(statement) && isWord(statement[end]) {
		end++
	}
	var buffer [longestWord]byte
	word := lowerWord(&buffer, statement[start:end])
	switch {
	case leadingWords[string(word)]:
		return harmless
	case ddlWords[string(word)]:
		return ddl
	case readOnWords[string(word)], wordEffects[string(word)] == opensOrHides:
		return readOn
	}
	return unknown
}

// effectOfOne tells what one statement may do.
func effectOfOne(query string) effect {
	switch beginningOf(query) {
	case harmless:
		return 0
	case readOn:
		return effectOfWords(query) &^ namesDatabase
	case ddl:
		if effectOfWords(query)&namesDatabase == 0 {
			return 0
		}
	}
	return sticks
}

// effectOfWords tells what a text may do when every word of it counts, also one
// in a literal or in a comment.
func effectOfWords(text string) (e effect) {
	var buffer [longestWord]byte
	hasDDL := false
	for start, i := nextWord(text, 0); start < len(text); start, i = nextWord(text, i) {
		word := lowerWord(&buffer, text[start:i])
		e |= wordEffects[string(word)]
		if string(word) == "for" { // SET STATEMENT … FOR a statement, whose words count as well
			// Not behind a comment: each of many might have to be read to the text's end.
			at := i
			for at < len(text) && isSpace(text[at]) {
				at++
			}
			if beginningAt(text, at) == unknown {
				e |= sticks
			}
		}
		hasDDL = hasDDL || ddlWords[string(word)] // behind FOR, or in BEGIN NOT ATOMIC … END
	}
	if hasDDL && e&namesDatabase != 0 {
		e |= sticks
	}
	// MySQL 8 and later take autocömmit for autocommit; in the character set swe7
	// that is autoc|mmit.
	if e&setsVariable != 0 && (!isASCII(text) || strings.Contains(text, "`") && strings.ContainsAny(text, `[]{}|\^~`)) {
		e |= sticks
	}
	return e
}

// nextWord returns where the next word of a text begins and ends. A digit or a byte
// that is not ASCII may stand right before one: /*!50000autocommit*/, 1e3FOR, and in
// latin1 0xA0 is a space.
func nextWord(text string, from int) (start, end int) {
	letter := func(i int) bool { return isWord(text[i]) && text[i] < 0x80 && !isDigit(text[i]) }
	start = from
	for start < len(text) && !letter(start) {
		start++
	}
	number := start > 0 && isDigit(text[start-1])
	end = start
	for end < len(text) && (letter(end) || !number && isDigit(text[end])) {
		end++
	}
	return start, end
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r >= 0x80 }) < 0
}

// skipComments returns the offset of a statement's first word. An executable
// comment (/*! … */, /*M! … */) is code for one server and none for another: it
// stays, and counts as no known word.
func skipComments(query string) int {
	for i := 0; i < len(query); {
		rest := query[i:]
		switch {
		case isSpace(rest[0]):
			i++
		case rest[0] == '#', strings.HasPrefix(rest, "--") && (len(rest) == 2 || rest[2] <= ' '):
			i = after(query, i, "\n")
		case strings.HasPrefix(rest, "/*!"), strings.HasPrefix(rest, "/*M!"):
			return i
		case strings.HasPrefix(rest, "/*"):
			i = after(query, i+2, "*/")
		default:
			return i
		}
	}
	return len(query)
}

// longestWord is the length of the longest word that tells something.
const longestWord = len("character_set_connection")

// lowerWord returns an ASCII word in lower case, in a buffer of the caller's, so
// that a look-up does not allocate; nil where it is longer than all we know.
func lowerWord(buffer *[longestWord]byte, word string) []byte {
	if len(word) > longestWord {
		return nil
	}
	for i := range len(word) {
		c := word[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		buffer[i] = c
	}
	return buffer[:len(word)]
}
