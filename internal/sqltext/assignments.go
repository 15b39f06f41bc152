package sqltext

import "strings"

// Assignment is one item of a SET statement.
type Assignment struct {
	Scope string // "", "session", "local", "global", …, in lower case
	Bare  bool   // written @@name: for the isolation variables, the next transaction only
	Name  string // in lower case, with its @ if it is a user variable; "" if it isn't a variable, as in SET NAMES
	Value string // its words, one space between two
}

// OfSession reports whether the item sets the session's value, or that of the
// next transaction.
func (a Assignment) OfSession() bool {
	return a.Scope != "global" && !strings.HasPrefix(a.Scope, "persist")
}

// OfUser reports whether it is a user variable.
func (a Assignment) OfUser() bool { return strings.HasPrefix(a.Name, "@") }

// Assignments returns what a text's SET statements assign, in order. A ';' ends
// a statement, because with multiStatements several can follow one another. SET
// SESSION TRANSACTION … is one item with the name "transaction"; its value is
// the rest.
func Assignments(text string) []Assignment {
	var all []Assignment
	for _, statement := range splitTop(tokenize(text), ';') {
		all = append(all, assignments(statement)...)
	}
	return all
}

// IsEmpty reports whether a text holds no statement: nothing but white space,
// comments and ';'.
func IsEmpty(text string) bool {
	for _, t := range tokenize(text) {
		if !t.punct(';') {
			return false
		}
	}
	return true
}

// HasSeveral reports whether a text is more than one statement: something stands
// after a ';' that is outside parentheses.
func HasSeveral(text string) bool {
	several := 0
	for _, statement := range splitTop(tokenize(text), ';') {
		if len(statement) > 0 {
			several++
		}
	}
	return several > 1
}

func assignments(toks []token) []Assignment {
	if len(toks) == 0 || !toks[0].is("SET") {
		return nil
	}
	var items []Assignment
	scope := "" // a scope word also holds for the items after it
	rest := toks[1:]
	for _, item := range splitTop(rest, ',') {
		fromItem := rest
		rest = rest[min(len(item)+1, len(rest)):]
		var a Assignment
		switch {
		case len(item) >= 2 && item[0].punct('@') && item[1].punct('@'):
			item = item[2:]
			if len(item) >= 2 && item[1].punct('.') && isScope(item[0]) {
				a.Scope = strings.ToLower(item[0].text)
				item = item[2:]
			} else {
				a.Bare = true
			}
		case len(item) >= 2 && isScope(item[0]) && item[1].kind == wordToken:
			scope = strings.ToLower(item[0].text)
			a.Scope = scope
			item = item[1:]
		default:
			a.Scope = scope
		}
		sigil := ""
		if len(item) > 0 && item[0].punct('@') {
			sigil, item = "@", item[1:]
		}
		switch {
		case len(item) > 0 && item[0].is("TRANSACTION"):
			// Commas part its characteristics, not items.
			for !fromItem[0].is("TRANSACTION") {
				fromItem = fromItem[1:]
			}
			a.Name, a.Value = "transaction", words(fromItem[1:])
			return append(items, a)
		case len(item) >= 2 && item[0].kind == wordToken && item[1].punct('='):
			a.Name, a.Value = sigil+strings.ToLower(item[0].text), words(item[2:])
		case len(item) >= 3 && item[0].kind == wordToken && item[1].punct(':') && item[2].punct('='):
			a.Name, a.Value = sigil+strings.ToLower(item[0].text), words(item[3:])
		}
		items = append(items, a)
	}
	return items
}

func isScope(t token) bool {
	return t.is("SESSION", "LOCAL", "GLOBAL", "PERSIST", "PERSIST_ONLY")
}

func words(toks []token) string {
	texts := make([]string, len(toks))
	for i, t := range toks {
		texts[i] = t.text
	}
	return strings.Join(texts, " ")
}
