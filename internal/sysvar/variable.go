package sysvar

import (
	"regexp"
	"strings"
)

// The statements that mysqltx sends around a transaction. After the second the
// session is as it was before the first, and the guard knows that.
const (
	AutocommitOff = "SET autocommit = 0"
	AutocommitOn  = "SET autocommit = 1" // also commits what is open
)

// Variable is a variable to set. Its name is spelled as the DSN spells it, which
// can include a scope; its value is SQL.
type Variable struct{ Name, Value string }

// BareName is the variable's name without its scope, in lower case.
func (v Variable) BareName() string {
	if name, ok := ParseName(v.Name); ok {
		return name.Bare
	}
	return strings.ToLower(v.Name)
}

// IsConstant reports whether the value is a literal or a word: it means the same
// whatever the session is. No other variable is in it, no function, and nothing
// that sql_mode reads in two ways.
func (v Variable) IsConstant() bool { return constant.MatchString(v.Value) }

// OfUser reports whether it is a user variable, such as @tenant.
func (v Variable) OfUser() bool {
	_, ok := ParseName(v.Name)
	return !ok && strings.Contains(v.Name, "@")
}

// Varies reports whether a constant value can have another effect when it is set
// again:
//
//   - a function of the time that needs no parentheses, such as CURRENT_TIMESTAMP
//   - DEFAULT, which is the global value
//   - an empty literal, which MariaDB takes for NULL under the sql_mode
//     EMPTY_STRING_IS_NULL; sql_mode itself is empty all the same
//   - a value that changes only those parts of a variable that it names
func (v Variable) Varies() bool {
	switch name := v.BareName(); {
	case varying.MatchString(v.Value), strings.HasPrefix(name, "optimizer_switch"), strings.HasPrefix(name, "optimizer_trace"):
		return true
	default:
		return strings.TrimSpace(v.Value) == "''" && name != "sql_mode"
	}
}

var (
	constant = regexp.MustCompile(`^\s*('[^'\\]*'|[0-9.]*|[A-Za-z][A-Za-z0-9_-]*)\s*$`)
	varying  = regexp.MustCompile(`(?i)^\s*(current_|localtime|utc_|default\s*$)`)
)

// IsPublic reports whether an error can show the value: a time zone, a mode or a
// number is not a secret. The value of a user variable can be one, such as a
// tenant's name, and so can that of a variable whose name sounds like it. A value
// that assigns to further variables counts as secret.
func (v Variable) IsPublic() bool {
	name := strings.ToLower(strings.TrimSpace(v.Name))
	isUsers := strings.HasPrefix(name, "@") && !strings.HasPrefix(name, "@@")
	return !isUsers && !secretName.MatchString(name) && assignsNothing.MatchString(v.Value)
}

var (
	secretName = regexp.MustCompile(`pass|pwd|secret|token|credential|auth|key(ring|$)`)
	// assignsNothing matches SQL without '=' outside quotes. A backslash makes it
	// uncertain where the quotes end.
	assignsNothing = regexp.MustCompile(`^([^=\\'"]|'[^'\\]*'|"[^"\\]*")*$`)
)

// Name is how a SET spells a variable.
type Name struct {
	At    bool   // it begins with @@
	Scope string // "session", "local", "global", "persist" or "persist_only"; "" if it has none
	Bare  string // the variable itself, in lower case
}

// OfSession reports whether a SET of this name sets the session's value, or that
// of the next transaction.
func (n Name) OfSession() bool {
	return n.Scope == "" || n.Scope == "session" || n.Scope == "local"
}

var nameForms = regexp.MustCompile("(?i)^\\s*(@@\\s*)?(?:(session|local|global|persist|persist_only)(?:\\s+|\\s*\\.\\s*))?`?([a-z_][a-z0-9_$.]*)`?\\s*$")

// ParseName takes a spelling apart. It is false for a text that is not a
// system variable's name, such as that of a user variable.
func ParseName(spelling string) (name Name, ok bool) {
	match := nameForms.FindStringSubmatch(spelling)
	if match == nil {
		return Name{}, false
	}
	return Name{At: match[1] != "", Scope: strings.ToLower(match[2]), Bare: strings.ToLower(match[3])}, true
}

// Word returns a word in capitals, without the quotes around it.
func Word(text string) string {
	text = strings.TrimSpace(text)
	if n := len(text); n >= 2 && text[0] == text[n-1] && (text[0] == '\'' || text[0] == '"') {
		text = text[1 : n-1]
	}
	return strings.ToUpper(strings.TrimSpace(text))
}
