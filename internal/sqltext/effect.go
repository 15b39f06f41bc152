package sqltext

import "strings"

// Effect is what a statement can leave behind in its session. It is read off the
// statement's text, without parsing: a statement that is not recognised is
// treated as the worst case.
type Effect uint8

const (
	SetsVariable  Effect = 1 << iota // some variable; the one SET restores it, if it sets that variable
	SetsIsolation                    // the isolation level, of the session or of the next transaction
	SetsBinlog                       // the binlog format
	Opaque                           // an open transaction, or whatever else the statement does that its text does not show
	Irreversible                     // something that our SET cannot restore
	namesDatabase                    // in DROP and its like: the current database can be gone
)

// leadingWords are the words that begin a statement which leaves its session
// unchanged, whatever follows. Rare ones are left out: the price is a
// connection that is closed without need.
var leadingWords = wordSet("select insert update delete replace with values table do " +
	"show explain describe desc help kill load truncate rename grant revoke " +
	"analyze optimize check checksum repair savepoint release")

// readOnWords begin statements whose further words decide. ddlWords begin
// statements for which only the kind of object decides.
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

// wordEffects are the words that change a session if they begin a statement, or
// stand in a SET or COMMIT. Elsewhere they are a false alarm.
var wordEffects = map[string]Effect{
	"set":                   SetsVariable,
	"transaction":           SetsIsolation,
	"transaction_isolation": SetsIsolation,
	"tx_isolation":          SetsIsolation,
	"binlog_format":         SetsBinlog,

	"begin": Opaque,
	"start": Opaque,
	"chain": Opaque, // COMMIT AND CHAIN
	"call":  Opaque,

	"execute":         Irreversible, // also EXECUTE IMMEDIATE: any text, USE and SET autocommit among them
	"use":             Irreversible,
	"lock":            Irreversible,
	"xa":              Irreversible,
	"autocommit":      Irreversible,
	"completion_type": Irreversible, // makes each COMMIT open a transaction
	"old_mode":        Irreversible, // decides on MariaDB what utf8 means, also in the SET that restores

	"database": namesDatabase,
	"schema":   namesDatabase,

	// The access mode, READ ONLY, can be that of the next transaction.
	"only":                  Irreversible,
	"transaction_read_only": Irreversible,
	"tx_read_only":          Irreversible,

	// The character set of the connection. The DSN's charset and collation choose it.
	"names":                    Irreversible,
	"charset":                  Irreversible,
	"character":                Irreversible,
	"character_set_client":     Irreversible,
	"character_set_connection": Irreversible,
	"character_set_results":    Irreversible,
	"collation_connection":     Irreversible,
}

// EffectOf returns what a query can do to its session. With multi the query can
// be several statements. Each begins after a ';', and so every ';' counts, even
// one in a literal or a comment: where those end depends on sql_mode, character
// set and version. EffectOf does not allocate.
func EffectOf(query string, multi bool) (e Effect) {
	if !multi {
		return effectOfOne(query)
	}
	for one := range strings.SplitSeq(query, ";") {
		e |= effectOfOne(one)
	}
	return e
}

// beginning is how a statement begins, which decides how much of it is read.
type beginning byte

const (
	unknown  beginning = iota
	harmless           // whatever follows
	readOn             // its further words decide
	ddl                // only the kind of object decides
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
	case readOnWords[string(word)], wordEffects[string(word)] == Opaque:
		return readOn
	}
	return unknown
}

func effectOfOne(statement string) Effect {
	switch beginningOf(statement) {
	case harmless:
		return 0
	case readOn:
		return effectOfWords(statement) &^ namesDatabase
	case ddl:
		switch e := effectOfWords(statement); {
		case e&namesDatabase != 0:
		case e&Opaque != 0 && e&SetsIsolation != 0: // CREATE TABLE … START TRANSACTION
			return Opaque
		default:
			return 0
		}
	}
	return Irreversible
}

// effectOfWords returns what a text can do if every word in it counts, even one
// in a literal or in a comment.
func effectOfWords(text string) (e Effect) {
	var buffer [longestWord]byte
	hasDDL := false
	for start, i := nextWord(text, 0); start < len(text); start, i = nextWord(text, i) {
		word := lowerWord(&buffer, text[start:i])
		e |= wordEffects[string(word)]
		if string(word) == "for" { // SET STATEMENT … FOR a statement, whose words count as well
			// The statement is only looked for after white space, not after a comment:
			// with many comments, each could have to be read to the end of the text.
			at := i
			for at < len(text) && isSpace(text[at]) {
				at++
			}
			if beginningAt(text, at) == unknown {
				e |= Irreversible
			}
		}
		hasDDL = hasDDL || ddlWords[string(word)] // after FOR, or in BEGIN NOT ATOMIC … END
	}
	if hasDDL && e&namesDatabase != 0 {
		e |= Irreversible
	}
	// MySQL 8 and later take autocömmit for autocommit. In the character set swe7
	// that is autoc|mmit.
	if e&SetsVariable != 0 && (!isASCII(text) || strings.Contains(text, "`") && strings.ContainsAny(text, `[]{}|\^~`)) {
		e |= Irreversible
	}
	return e
}

// nextWord returns where the next word of a text begins and ends. A digit or a
// byte that is not ASCII can stand right before it: /*!50000autocommit*/, 1e3FOR,
// and in latin1 0xA0 is a space.
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

// skipComments returns the offset of a statement's first word. It stops at an
// executable comment (/*! … */, /*M! … */), which is code for one server and a
// comment for another, and so counts as no known word.
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

// longestWord is the length of the longest word in the tables above.
const longestWord = len("character_set_connection")

// lowerWord returns an ASCII word in lower case, in the caller's buffer, so that
// a look-up does not allocate. It is nil if the word is longer than all in the
// tables.
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
