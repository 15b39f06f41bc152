package session

import (
	"fmt"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// This file says whose item a server refused, and what to do about it.

// refused is the failure of a SET of which no form was taken.
func (c *Config) refused(tried []attempt) *Failure {
	last := tried[len(tried)-1]
	denied := refusedToSet(tried)
	if c.userVariable(last) != "" {
		return c.blame(last)
	}
	for _, a := range tried {
		if a.failedAssertion() {
			return c.statementFormat(a, denied)
		}
	}
	if denied != nil && last.err.Number == denied.err.Number {
		// The server refused it without binlog_format too, and names nobody: another
		// item is at fault, and the server's first word about it counts.
		return c.blame(*denied)
	}
	return c.blame(last)
}

// blame says whose item the server refused.
func (c *Config) blame(a attempt) *Failure {
	f := &Failure{Statement: a.text, Reason: PhaseSet.Failed(), Err: a.err}
	if name := c.userVariable(a); name != "" {
		f.Reason = fmt.Sprintf("the server refused %s, which the DSN sets", name)
		f.Cure = "correct that key of the DSN, or take it out"
		return f
	}
	switch a.err.Number {
	case errAccessDenied:
		c.explainDenied(f, a)
	case errParse, errUnknownColumn:
		c.explainMisread(f, a)
	}
	return f
}

// explainDenied handles a privilege that the account lacks.
func (c *Config) explainDenied(f *Failure, a attempt) {
	switch {
	case c.requiresRow():
		f.Reason = "binlog=require-row, but this account is not allowed to set binlog_format"
		f.Cure = grant(a.err.Message) + "; or use binlog=row, which does without if that is safe"
		if len(c.Variables) > 0 {
			f.Reason += " (or another variable of the DSN)"
		}
	case c.Binlog.Format != "":
		f.Reason = "the DSN sets binlog_format, which this account is not allowed to set (or another variable that needs a privilege)"
		f.Cure = "take binlog_format out of the DSN: the default, binlog=row, does without the privilege if that is safe"
	case len(c.Variables) > 0:
		names := make([]string, len(c.Variables))
		for i, v := range c.Variables {
			names[i] = v.Name
		}
		f.Reason = "this account is not allowed to set a variable of the DSN (" + strings.Join(names, ", ") + ")"
		f.Cure = "take that key out of the DSN, or grant the privilege that the server names"
	}
}

func (c *Config) requiresRow() bool { return c.Binlog.Set && !c.Binlog.Assert }

// explainMisread handles a SET that the server does not understand.
func (c *Config) explainMisread(f *Failure, a attempt) {
	asserts := a.form.binlog == assertBinlog
	switch unquoted := c.unquotedVariable(); {
	case unquoted != "":
		f.Reason = "the server does not understand the SET, most likely the value of " + unquoted + " in the DSN"
		f.Cure = "a value is SQL, in which a text needs quotes: " + unquoted + "=%27…%27"
		if asserts { // a proxy can answer the check in the same way
			f.Cure += "; if the value is right, binlog=server leaves out the check of binlog_format"
		}
	case asserts && a.err.Number == errParse:
		f.Reason = "the server, or a proxy in front of it, does not understand the check of binlog_format"
		f.Cure = "binlog=server sends what every server and proxy understands, and checks nothing"
	}
}

// unquotedVariable returns the DSN's variable whose value is neither a literal
// nor a word, such as +02:00 without quotes. It returns "" if there is none.
func (c *Config) unquotedVariable() string {
	for _, v := range c.Variables {
		if !v.IsConstant() {
			return sqltext.OneLine(v.Name)
		}
	}
	return ""
}

// statementFormat explains why the asked-for level would not work here. The
// server's refusal to set the format, if there is one, says more than that of
// the assertion.
func (c *Config) statementFormat(asserted attempt, denied *attempt) *Failure {
	shown, message, why := asserted, "", "binlog=assert never changes the session's format"
	if denied != nil {
		shown, message, why = *denied, denied.err.Message, "this account is not allowed to change the format for its session"
	}
	return &Failure{
		Statement: shown.text,
		Reason:    "this server logs in STATEMENT format, with which InnoDB refuses every write of a " + sysvar.SpacedLevelName(c.Isolation.Level) + " transaction (error 1665), and " + why,
		Cure:      "(1) set binlog_format = ROW (or MIXED) in the server's my.cnf; (2) isolation=server in the DSN keeps the server's isolation level; (3) binlog=server for a pool that only reads; (4) " + grant(message),
		Err:       shown.err,
	}
}

// grant names the smallest privilege that lets an account set binlog_format on
// the server that gave this answer, and what else it allows. SUPER is never
// proposed.
func grant(message string) string {
	const (
		mariadb = "GRANT BINLOG ADMIN ON *.* TO this account (it can then purge binary logs as well)"
		mysql8  = "GRANT SESSION_VARIABLES_ADMIN ON *.* TO this account (it can then switch sql_log_bin off as well)"
	)
	switch {
	case strings.Contains(message, "BINLOG ADMIN"):
		return mariadb
	case strings.Contains(message, "SESSION_VARIABLES_ADMIN"):
		return mysql8
	case strings.Contains(message, "SUPER"):
		return "no GRANT: the smallest privilege for it on this server is SUPER, which an application should not have"
	}
	return "on MariaDB " + mariadb + ", on MySQL 8 and later " + mysql8 + "; then binlog=row"
}
