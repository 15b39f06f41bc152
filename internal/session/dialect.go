package session

import (
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// attempt is a form that a server refused on one connection.
type attempt struct {
	form Form
	text string
	err  *mysql.MySQLError
}

// names reports whether the server's message names a variable. Only that says
// whose fault an error is. Messages can be translated; names are not.
func (a attempt) names(variable string) bool { return names(a.err.Message, variable) }

func names(message, variable string) bool {
	return slices.ContainsFunc(quotedTexts(message), func(quoted string) bool { return isNamed(quoted, variable) })
}

// isNamed reports whether a quoted text is a variable's name, in some scope.
// vtgate quotes a whole item of the SET, as in '@@no_such = 1'.
func isNamed(quoted, variable string) bool {
	quoted, _, _ = strings.Cut(quoted, "=")
	return sysvar.Variable{Name: strings.TrimSpace(quoted)}.BareName() == variable
}

// quotedTexts returns what a message quotes, in order. A quote that nothing
// closes is an apostrophe.
func quotedTexts(message string) []string {
	var texts []string
	for {
		open := strings.IndexAny(message, "'`\"")
		if open < 0 {
			return texts
		}
		quoted, rest, closed := strings.Cut(message[open+1:], message[open:open+1])
		if !closed {
			return texts
		}
		texts = append(texts, quoted)
		message = rest
	}
}

// failedAssertion reports whether the server logs in STATEMENT format.
func (a attempt) failedAssertion() bool {
	return a.form.binlog == assertBinlog && a.err.Number == errWrongValue && strings.Contains(a.err.Message, sysvar.StatementFormatText)
}

// refusedToSet returns the attempt that was not allowed to set binlog_format.
func refusedToSet(tried []attempt) *attempt {
	for i, a := range tried {
		if a.form.binlog == setBinlog && a.err.Number != errUnknownVariable {
			return &tried[i]
		}
	}
	return nil
}

// firstForm is what is tried on a server of which nothing is known.
func (c *Config) firstForm() Form {
	f := Form{name: sysvar.TransactionIsolation, galera: true}
	switch {
	case c.Binlog.Format != "":
	case c.Binlog.Set:
		f.binlog = setBinlog
	case c.Binlog.Assert:
		f.binlog = c.withoutSet()
	}
	return f
}

// withoutSet is what can be done about the format if it cannot be set.
func (c *Config) withoutSet() binlogForm {
	if sysvar.NeedsRowLog(c.Isolation.Level) {
		return assertBinlog
	}
	return leaveBinlog
}

// nextForm returns the form that the last answer calls for. It returns the last
// form itself if the answer is not about the form: the fault is then in one of
// the user's variables.
func (c *Config) nextForm(tried []attempt) Form {
	last := tried[len(tried)-1]
	switch last.err.Number {
	case errUnknownVariable:
		return c.afterUnknownVariable(last)
	case errAccessDenied, errGlobalVariable, errReadOnlyVar, errUnknown:
		return c.afterRefusal(last)
	case errWrongValue:
		return c.afterWrongValue(last, tried)
	}
	return last.form
}

func (c *Config) afterUnknownVariable(last attempt) Form {
	next := last.form
	switch {
	case last.names(last.form.name):
		return c.renamed(last.form)
	case last.names("wsrep_on"):
		next.galera = false
	case last.names(sysvar.BinlogFormat):
		if c.Binlog.Assert {
			next.binlog = leaveBinlog // a server without the variable logs rows only
		}
	case len(quotedTexts(last.err.Message)) == 0: // it names nothing: try the forms in order
		return c.renamed(last.form)
	}
	// Otherwise it names what we have not sent: it is the user's.
	return next
}

// renamed is the first form with the isolation variable's other name. The server
// is of another kind than assumed, so everything is asked anew.
func (c *Config) renamed(f Form) Form {
	next := c.firstForm()
	next.name = sysvar.OtherIsolationName(f.name)
	if f.name == sysvar.TxIsolation {
		next.galera = false // only MySQL 8.0 and later lack the old name
	}
	return next
}

// afterRefusal handles a server or an account that does not let binlog_format be
// set, or not even be read for the session.
func (c *Config) afterRefusal(last attempt) Form {
	next := last.form
	denied := last.err.Number == errAccessDenied
	if aboutBinlog := denied || last.names(sysvar.BinlogFormat) || c.culprit(last) == nil; !aboutBinlog {
		return next
	}
	switch {
	case last.form.binlog == setBinlog && c.Binlog.Assert:
		next.binlog = c.withoutSet()
		// Only MariaDB calls the missing privilege BINLOG ADMIN. As a Galera node it
		// refuses STATEMENT even if the binary log is off.
		next.galera = strings.Contains(last.err.Message, "BINLOG ADMIN")
	case last.form.binlog == assertBinlog && !denied:
		next.binlog = leaveBinlog // the format has no session value, or the engine no such log
	}
	return next
}

// afterWrongValue tries to set the format again if the server turns out to log
// in STATEMENT format: the privilege can have been granted since it was refused.
func (c *Config) afterWrongValue(last attempt, tried []attempt) Form {
	next := last.form
	if last.failedAssertion() && c.Binlog.Set && refusedToSet(tried) == nil {
		next.binlog = setBinlog
	}
	return next
}

// culprit returns the user's variable that a server's message is about: the one
// that it names, or the one whose value has what it quotes. It returns nil if
// there is none.
func (c *Config) culprit(a attempt) *sysvar.Variable {
	quoted := quotedTexts(a.err.Message)
	for _, isAbout := range []func(quoted string, v sysvar.Variable) bool{
		func(quoted string, v sysvar.Variable) bool { return isNamed(quoted, v.BareName()) },
		func(quoted string, v sysvar.Variable) bool {
			return len(quoted) > 1 && strings.Contains(strings.ToLower(v.Value), strings.ToLower(quoted))
		},
	} {
		for _, v := range c.written(a.form) {
			if slices.ContainsFunc(quoted, func(q string) bool { return isAbout(q, v) }) {
				return &v
			}
		}
	}
	return nil
}

// written returns what the user has written into a SET: the variables of the DSN,
// and an isolation level or a binlog format that is not ours.
func (c *Config) written(f Form) []sysvar.Variable {
	all := slices.Clone(c.Variables)
	if c.Isolation.Expr != "" {
		all = append(all, sysvar.Variable{Name: f.name, Value: c.Isolation.Expr})
	}
	if c.Binlog.Format != "" {
		all = append(all, sysvar.Variable{Name: sysvar.BinlogFormat, Value: c.Binlog.Format})
	}
	return all
}
