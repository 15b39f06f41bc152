package mysqlinit

import (
	"fmt"
	"strings"
)

// This file says whose item it was that a server refused, and what to do.

// refusedError is the error of a SET of which no form was taken.
func (s *session) refusedError(tried []attempt) error {
	last := tried[len(tried)-1]
	refused := refusedToSet(tried)
	if s.userVariable(last.err.Message) != "" {
		return s.setError(last)
	}
	for _, a := range tried {
		if a.failedAssertion() {
			return s.statementFormatError(a, refused)
		}
	}
	if refused != nil && last.err.Number == refused.err.Number {
		// Refused without binlog_format too, and nobody is named: the item at
		// fault is another, and the server's first word about it counts.
		return s.setError(*refused)
	}
	return s.setError(last)
}

// setError says whose item the server refused.
func (s *session) setError(a attempt) error {
	reason, cure := phaseSet.failed(), ""
	name := s.userVariable(a.err.Message)
	denied := a.err.Number == errAccessDenied
	misread := a.err.Number == errParse || a.err.Number == errUnknownColumn
	bare := s.bareVariable()
	switch {
	case name != "":
		reason = fmt.Sprintf("the server refused %s, which the DSN sets", name)
		cure = "correct that key of the DSN, or take it out"
	case denied && s.binlog.policy == BinlogRequireRow && s.binlog.format == "":
		reason = "binlog=require-row, but this account may not set binlog_format"
		cure = grant(a.err.Message) + "; or use binlog=row, which does without where it safely can"
		if len(s.variables) > 0 {
			reason += " (or another variable of the DSN)"
		}
	case denied && s.binlog.format != "":
		reason = "the DSN sets binlog_format, which this account may not (or another variable that needs a privilege)"
		cure = "take binlog_format out of the DSN: the default, binlog=row, does without the privilege where it safely can"
	case denied && len(s.variables) > 0:
		names := make([]string, len(s.variables))
		for i, v := range s.variables {
			names[i] = v.name
		}
		reason = "this account may not set a variable of the DSN (" + strings.Join(names, ", ") + ")"
		cure = "take that key out of the DSN, or grant the privilege that the server names"
	case misread && bare != "":
		reason = "the server does not understand the SET, most likely the value of " + bare + " in the DSN"
		cure = "a value is SQL, where a text needs quotes: " + bare + "=%27…%27"
		if a.form.binlog == assertBinlog { // which a proxy may answer in the same way
			cure += "; where that is right, binlog=server leaves out the check of binlog_format"
		}
	case a.err.Number == errParse && a.form.binlog == assertBinlog:
		reason = "the server, or a proxy in front of it, does not understand the check of binlog_format"
		cure = "binlog=server sends what every server and proxy understands, and checks nothing"
	}
	return newInitError(a.text, reason, cure, a.err)
}

// statementFormatError explains why READ COMMITTED would not work here. The
// server's refusal to set the format, where there is one, says more than that
// of the assertion.
func (s *session) statementFormatError(asserted attempt, refused *attempt) error {
	shown, message, why := asserted, "", "binlog=assert never changes the session's"
	if refused != nil {
		shown, message, why = *refused, refused.err.Message, "this account may not change the session's"
	}
	return newInitError(shown.text,
		"this server logs in STATEMENT format, with which InnoDB refuses every write of a "+spaced(levelNames[s.isolation.level])+" transaction (error 1665), and "+why,
		"(1) set binlog_format = ROW (or MIXED) in the server's my.cnf; (2) isolation=server in the DSN keeps the server's isolation level; (3) binlog=server for a pool that only reads; (4) "+grant(message),
		shown.err)
}

// grant names the smallest privilege that lets an account set binlog_format on
// the server that gave this answer, and what else it allows. SUPER is never
// proposed.
func grant(message string) string {
	const (
		mariadb = "GRANT BINLOG ADMIN ON *.* TO this account (it may then purge binary logs as well)"
		mysql8  = "GRANT SESSION_VARIABLES_ADMIN ON *.* TO this account (it may then switch sql_log_bin off as well)"
	)
	switch {
	case strings.Contains(message, "BINLOG ADMIN"):
		return mariadb
	case strings.Contains(message, "SESSION_VARIABLES_ADMIN"):
		return mysql8
	case strings.Contains(message, "SUPER"):
		return "no GRANT: this server knows no privilege for it smaller than SUPER, which an application should not have"
	}
	return "on MariaDB " + mariadb + ", on MySQL 8 and later " + mysql8 + "; then binlog=row"
}

// quotes tells whether a server's message names a variable.
func quotes(message, name string) bool {
	message = strings.ToLower(message)
	for _, q := range []string{"'", "`", `"`} {
		if strings.Contains(message, q+name+q) {
			return true
		}
	}
	return false
}

// bareVariable returns the DSN's variable whose value is neither a literal nor a
// word, as +02:00 without quotes, or "".
func (s *session) bareVariable() string {
	for _, v := range s.variables {
		if !constant.MatchString(v.value) {
			return oneLine(v.name)
		}
	}
	return ""
}

// userVariable returns the DSN's variable that a server's message names, or "".
func (s *session) userVariable(message string) string {
	for _, v := range s.variables {
		if quotes(message, v.bareName()) {
			return v.name
		}
	}
	return ""
}
