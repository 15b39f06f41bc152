package sqltext

import "strings"

// insideWords begin statements that leave a transaction open and whole if they
// succeed. Words that are not among them can begin a statement which commits
// implicitly, such as DDL, or one that can do anything, such as CALL.
var insideWords = wordSet("select insert update delete replace with values table do show explain describe desc " +
	"use savepoint release signal")

// StaysInside reports whether a query leaves the transaction that it runs in
// open and whole if it succeeds. It is false for a query that it cannot tell
// about. With multi the query can be several statements.
func StaysInside(query string, multi bool) bool {
	if strings.Contains(query, "/*!") || strings.Contains(query, "/*M!") {
		return false // code on one server, a comment on another
	}
	if !isASCII(query) && EffectOf(query, multi)&SetsVariable != 0 {
		return false // SET autocömmit is SET autocommit on MySQL 8 and later
	}
	// A literal ends where sql_mode says, so both readings have to agree.
	return staysInside(tokenizeAs(query, true), multi) && staysInside(tokenizeAs(query, false), multi)
}

func staysInside(toks []token, multi bool) bool {
	if !multi {
		return oneStaysInside(toks)
	}
	start := 0
	for i, t := range toks {
		if t.punct(';') {
			if !oneStaysInside(toks[start:i]) {
				return false
			}
			start = i + 1
		}
	}
	return oneStaysInside(toks[start:])
}

func oneStaysInside(toks []token) bool {
	if len(toks) == 0 || toks[0].punct('(') {
		return true
	}
	if toks[0].kind != wordToken {
		return false
	}
	rest := toks[1:]
	switch word := strings.ToLower(toks[0].text); word {
	case "set":
		return !hasWord(rest, "AUTOCOMMIT", "COMPLETION_TYPE", "PASSWORD", "ROLE", "STATEMENT")
	case "rollback":
		if len(rest) > 0 && rest[0].is("WORK") {
			rest = rest[1:]
		}
		return len(rest) > 0 && rest[0].is("TO")
	case "load":
		return len(rest) > 0 && rest[0].is("DATA", "XML") // LOAD INDEX commits on MySQL
	default:
		return insideWords[word]
	}
}

func hasWord(toks []token, words ...string) bool {
	for _, t := range toks {
		if t.is(words...) {
			return true
		}
	}
	return false
}

// IsSavepoint reports whether a query begins with SAVEPOINT. It does not
// allocate.
func IsSavepoint(query string) bool {
	start := skipComments(query)
	const word = "savepoint"
	return len(query)-start > len(word) && strings.EqualFold(query[start:start+len(word)], word) && !isWord(query[start+len(word)])
}
