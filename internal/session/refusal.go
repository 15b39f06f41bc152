package session

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// This file says whose item a server refused, and what to do about it.

// refused is the failure of a SET of which no form was taken. ask asks the server
// what the cure depends on.
func (c *Config) refused(tried []attempt, ask func() role) *Failure {
	last := tried[len(tried)-1]
	if c.culprit(last) == nil {
		for _, a := range tried {
			if a.failedAssertion() {
				return c.statementFormat(a, refusedToSet(tried), ask())
			}
		}
	}
	f := &Failure{Statement: last.text, Reason: PhaseSet.Failed(), Err: last.err}
	if v := c.culprit(last); v != nil {
		f.Reason, f.Cure = c.explain(*v, last)
		return f
	}
	switch last.err.Number {
	case errAccessDenied:
		c.explainDenied(f, last, ask)
	case errParse, errUnknownColumn:
		c.explainMisread(f, last)
	case errAbortedConn:
		f.Reason = "the server has closed the connection before our first statement, because its init_connect fails for this account"
		f.Cure = "correct the server's init_connect (SELECT @@GLOBAL.init_connect); accounts that administer the server skip it, so it can fail for others unseen"
	case errSkipIsolation:
		f.Reason = "the server does not offer the isolation level that was asked for"
		f.Cure = "on TiDB write tidb_skip_isolation_level_check=1&transaction_isolation=%27SERIALIZABLE%27, in this order, or choose another level"
	}
	return f
}

// explain says what is wrong with a variable of the DSN, and what to write.
func (c *Config) explain(v sysvar.Variable, a attempt) (reason, cure string) {
	name, value := shownName(v), "its value"
	if v.IsPublic() {
		value = sqltext.OneLine(v.Value)
	}
	reason = "the server refused " + name + ", which the DSN sets"
	cure = "correct that key of the DSN, or take it out"
	switch a.err.Number {
	case errUnknownVariable:
		if !a.names(v.BareName()) {
			return reason + ": it takes a word of " + value + " for a variable", quoteIt(v)
		}
		reason += ": it has no variable of that name"
		cure = "correct the key, or take it out; if it is for MariaDB only, write initCommand=%2F*M!+SET+…+*%2F, and for MySQL only initCommand=%2F*!80000+SET+…+*%2F"
	case errWrongValue, errWrongType, errWrongArguments, errUnknownTimeZone:
		reason += ": it does not take " + value
		cure = valueCure(v, a.err.Number)
	case errGlobalVariable, errReadOnlyVar, errReadOnlyForSession:
		reason += ": it cannot be set for a session"
		cure = "take the key out, and set the variable on the server if it is needed"
	case errParse, errUnknownColumn:
		reason = "the server does not understand the SET, most likely the value of " + name + " in the DSN"
		cure = quoteIt(v)
	case errAccessDenied:
		reason = "this account is not allowed to set " + name + ", which the DSN sets"
		cure = "take that key out of the DSN, or grant the privilege that the server names"
	}
	return reason, cure
}

// shownName is the variable's name as the DSN spells it, or both that it can have
// there.
func shownName(v sysvar.Variable) string {
	if isIsolation(v) {
		return sysvar.TransactionIsolation + " (or " + sysvar.TxIsolation + ")"
	}
	return sqltext.OneLine(v.Name)
}

func isIsolation(v sysvar.Variable) bool {
	name := v.BareName()
	return name == sysvar.TransactionIsolation || name == sysvar.TxIsolation
}

const chooseLevel = "write isolation=read-committed, repeatable-read, read-uncommitted or serializable"

func quoteIt(v sysvar.Variable) string {
	if isIsolation(v) {
		return chooseLevel
	}
	return "a value is SQL, in which a text needs quotes: " + shownName(v) + "=%27…%27"
}

// plusLost matches a value that begins with a space in place of a sign.
var plusLost = regexp.MustCompile(`^\s*['"]\s+[0-9]`)

func valueCure(v sysvar.Variable, number uint16) string {
	switch {
	case isIsolation(v):
		return chooseLevel
	case plusLost.MatchString(v.Value):
		return "in a DSN a '+' stands for a space: write %2B"
	case number == errWrongType:
		return "write a value of the variable's type, such as a number without quotes and without a unit"
	case number == errUnknownTimeZone:
		return "write an offset, such as time_zone=%27%2B00:00%27, or load the server's time zone tables (mysql_tzinfo_to_sql)"
	}
	return "correct that key of the DSN, or take it out; the server's manual lists the values of " + shownName(v)
}

// explainDenied handles a privilege that the account lacks.
func (c *Config) explainDenied(f *Failure, a attempt, ask func() role) {
	switch {
	case c.requiresRow():
		f.Reason = "binlog=require-row, but this account is not allowed to set binlog_format"
		f.Cure = grant(a.err.Message, ask().account) + "; or use binlog=row, which does without if that is safe"
		if len(c.Variables) > 0 {
			f.Reason += " (or another variable of the DSN)"
		}
	case c.Binlog.Format != "":
		f.Reason = "this account is not allowed to set binlog_format, which the DSN sets"
		if len(c.Variables) > 0 {
			f.Reason += " (or another variable of the DSN)"
		}
		f.Cure = "take binlog_format out of the DSN: the default, binlog=row, does without the privilege if that is safe"
	case len(c.Variables) == 1:
		f.Reason, f.Cure = c.explain(c.Variables[0], a)
	case len(c.Variables) > 1:
		names := make([]string, len(c.Variables))
		for i, v := range c.Variables {
			names[i] = sqltext.OneLine(v.Name)
		}
		f.Reason = "this account is not allowed to set one of the variables that the DSN sets: " + strings.Join(names, ", ")
		f.Cure = "take out the one that needs a privilege, or grant the privilege that the server names"
	}
}

func (c *Config) requiresRow() bool { return c.Binlog.Set && !c.Binlog.Assert }

// explainMisread handles a SET that the server does not understand, and of which
// it does not say which item it does not understand.
func (c *Config) explainMisread(f *Failure, a attempt) {
	asserts := a.form.binlog == assertBinlog
	switch unquoted := c.unquotedVariable(a.form); {
	case unquoted != nil:
		f.Reason, f.Cure = c.explain(*unquoted, a)
		if asserts { // a proxy can answer the check in the same way
			f.Cure += "; if the value is right, binlog=server leaves out the check of binlog_format"
		}
	case asserts && a.err.Number == errParse:
		f.Reason = "the server, or a proxy in front of it, does not understand the check of binlog_format"
		f.Cure = "binlog=server sends what every server and proxy understands, and checks nothing"
	}
}

// unquotedVariable returns the DSN's variable whose value is neither a literal
// nor a word, such as +02:00 without quotes. It returns nil if there is none.
func (c *Config) unquotedVariable(f Form) *sysvar.Variable {
	for _, v := range c.written(f) {
		if !v.IsConstant() {
			return &v
		}
	}
	return nil
}

// initCommandFailed is the failure of an init command.
func (c *Config) initCommandFailed(p Phase, command string, err error) *Failure {
	f := &Failure{Statement: command, Reason: p.Failed(), Err: err}
	serverErr := serverError(err)
	if serverErr == nil {
		return f
	}
	f.Reason += ": the server refused it"
	f.Cure = "correct that initCommand of the DSN (in code WithInitCommand), or take it out"
	switch number := serverErr.Number; {
	case number == errParse && !c.Multi && sqltext.HasSeveral(command):
		f.Reason = p.Failed() + ": it is more than one statement"
		f.Cure = "give each statement its own initCommand, or set multiStatements=true in the DSN"
	case number == errUnknownVariable:
		f.Cure += "; a statement for MariaDB only can stand in /*M! … */, and one for MySQL only in /*!80000 … */"
	}
	return f
}

// publicLiterals are the literals of the SET that an error can show. One that is
// also in a secret value is secret.
func (c *Config) publicLiterals(f Form) []string {
	var public, secret []string
	for _, v := range c.written(f) {
		if v.IsPublic() {
			public = append(public, sqltext.Literals(v.Value)...)
		} else {
			secret = append(secret, sqltext.Literals(v.Value)...)
		}
	}
	return slices.DeleteFunc(public, func(literal string) bool { return slices.Contains(secret, literal) })
}

// statementFormat explains why the asked-for level would not work here. The
// server's refusal to set the format, if there is one, says more than that of
// the assertion.
func (c *Config) statementFormat(asserted attempt, denied *attempt, server role) *Failure {
	shown, message, why := asserted, "", "binlog=assert never changes the session's format"
	if denied != nil {
		shown, message, why = *denied, denied.err.Message, "this account is not allowed to change the format for its session"
	}
	const (
		logRows   = "SET GLOBAL binlog_format = 'ROW' on the server, and binlog_format = ROW (or MIXED) in its my.cnf"
		keepLevel = "isolation=server in the DSN keeps the server's isolation level"
		onlyReads = "binlog=server for a pool that only reads"
	)
	lastResort := grant(message, server.account)
	cures := []string{logRows, keepLevel, onlyReads, lastResort}
	if server.readOnly {
		cures = []string{onlyReads + ", because this server is read-only", keepLevel, logRows, lastResort}
	}
	for i := range cures {
		cures[i] = fmt.Sprintf("(%d) %s", i+1, cures[i])
	}
	return &Failure{
		Statement: shown.text,
		Reason:    "this server logs in STATEMENT format, with which InnoDB refuses every write of a " + sysvar.SpacedLevelName(c.Isolation.Level) + " transaction (error 1665), and " + why,
		Cure:      strings.Join(cures, "; "),
		Err:       shown.err,
	}
}

// grant is the statement that gives an account the smallest privilege for setting
// binlog_format on the server that gave this answer, and what else that allows.
// SUPER is never proposed.
func grant(message, account string) string {
	to := " ON *.* TO " + sqltext.QuoteAccount(sqltext.OneLine(account))
	if account == "" {
		to = " ON *.* TO the account that SELECT CURRENT_USER() shows"
	}
	mariadb := "GRANT BINLOG ADMIN" + to + " (it can then purge binary logs as well)"
	mysql8 := "GRANT SESSION_VARIABLES_ADMIN" + to + " (it can then switch sql_log_bin off as well)"
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
