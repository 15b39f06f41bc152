package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// form is one way to write the SET.
type form struct {
	name   string     // of the isolation level's variable
	binlog binlogForm // what it does about binlog_format
	galera bool       // the assertion asks for wsrep_on as well, which only MariaDB knows
}

type binlogForm byte

const (
	leaveBinlog  binlogForm = iota
	setBinlog               // @@SESSION.binlog_format = 'ROW'
	assertBinlog            // refuse STATEMENT, in the isolation's own item
)

// The two names of the isolation level's variable. MySQL 5.6 and MariaDB before
// 11.1 know only the old one, MySQL 8.0 and later only the new one.
const (
	newName = "transaction_isolation"
	oldName = "tx_isolation"
)

// statementFormatText is the value that the assertion gives the isolation level
// where the format is STATEMENT. No server takes it: error 1231 quotes it.
const statementFormatText = "mysqlinit: binlog_format is STATEMENT"

// mostForms bounds the SETs that are tried on one connection. A server of which
// nothing is known takes three at most. A failover may take four: from MariaDB 10 to
// MySQL 8, which names wsrep_on first, then tx_isolation, and then refuses binlog_format.
const mostForms = 4

// attempt is a form that a server refused on one connection.
type attempt struct {
	form form
	text string
	err  *mysql.MySQLError
}

// setVariables sends the one SET, in the form that worked last. Where a server
// answers that it does not know or allow that form, the form that its answer
// calls for is tried on the same connection. A SET of several items is applied
// whole or not at all.
func (s *session) setVariables(ctx context.Context, conn driver.Conn) (form, error) {
	set := s.learned.Load()
	if set == nil {
		set = s.statement(s.firstForm())
	}
	var tried []attempt
	for {
		f, text := set.form, set.text
		err := exec(ctx, conn, text)
		if err == nil {
			s.learn(set, tried)
			return f, nil
		}
		serverErr, ok := errors.AsType[*mysql.MySQLError](err)
		if !ok {
			return f, newInitError(text, phaseSet.failed(), "", err)
		}
		tried = append(tried, attempt{f, text, serverErr})
		next := s.nextForm(tried)
		if len(tried) == mostForms || slices.ContainsFunc(tried, func(a attempt) bool { return a.form == next }) {
			return f, s.refusedError(tried)
		}
		set = s.statement(next)
	}
}

// setStatement is a SET that may be sent.
type setStatement struct {
	form form
	text string
}

func (s *session) statement(f form) *setStatement {
	return &setStatement{f, s.setText(f, s.variables)}
}

// firstForm is what is tried on a server of which nothing is known.
func (s *session) firstForm() form {
	f := form{name: newName, galera: true}
	if s.binlog.format == "" {
		switch s.binlog.policy {
		case BinlogRow, BinlogRequireRow:
			f.binlog = setBinlog
		case BinlogAssert:
			f.binlog = s.withoutSet()
		}
	}
	return f
}

// withoutSet is what can be done about the format where it may not be set.
func (s *session) withoutSet() binlogForm {
	if needsRowLog(s.isolation.level) {
		return assertBinlog
	}
	return leaveBinlog
}

// nextForm returns the form that the last answer calls for, and the last form
// itself where the answer is not about the form: then the fault is in a variable
// of the user's. Whose fault an error is, only the variable's name in its
// message says; messages may be translated, names are not.
func (s *session) nextForm(tried []attempt) form {
	last := tried[len(tried)-1]
	f, err := last.form, last.err
	next := f
	switch err.Number {
	case errUnknownVariable:
		renamed := s.firstForm() // another kind of server: ask it all anew
		if f.name == newName {
			renamed.name = oldName
		} else {
			renamed.galera = false // only MySQL 8.0 and later lack the old name
		}
		switch {
		case quotes(err.Message, f.name):
			next = renamed
		case quotes(err.Message, "wsrep_on"):
			next.galera = false
		case quotes(err.Message, "binlog_format"):
			if s.binlog.policy == BinlogRow || s.binlog.policy == BinlogAssert {
				next.binlog = leaveBinlog // a server without it logs rows only
			}
		case s.userVariable(err.Message) == "": // it names nothing: try the forms in order
			next = renamed
		}
	case errAccessDenied, errGlobalVariable, errReadOnlyVar, errUnknown:
		aboutBinlog := err.Number == errAccessDenied || quotes(err.Message, "binlog_format") || s.userVariable(err.Message) == ""
		switch {
		case !aboutBinlog:
		case f.binlog == setBinlog && s.binlog.policy == BinlogRow:
			next.binlog = s.withoutSet()
			// MariaDB names the privilege that is missing BINLOG ADMIN. Galera
			// refuses STATEMENT also with the binary log off.
			next.galera = strings.Contains(err.Message, "BINLOG ADMIN")
		case f.binlog == assertBinlog && err.Number != errAccessDenied:
			next.binlog = leaveBinlog // the format has no session value, or the engine no such log
		}
	case errWrongValue:
		if last.failedAssertion() && s.binlog.policy == BinlogRow && refusedToSet(tried) == nil {
			next.binlog = setBinlog // the privilege may have been granted since it was last asked for
		}
	}
	return next
}

// failedAssertion tells that the server logs in STATEMENT format.
func (a attempt) failedAssertion() bool {
	return a.form.binlog == assertBinlog && a.err.Number == errWrongValue && strings.Contains(a.err.Message, statementFormatText)
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

// learn keeps the SET that worked, and logs its form where it is news.
func (s *session) learn(worked *setStatement, tried []attempt) {
	if known := s.learned.Swap(worked); known == worked || known != nil && known.form == worked.form {
		return
	}
	f := worked.form
	attrs := []any{slog.String("binlogFormat", [...]string{"left alone", "set to ROW", "asserted not to be STATEMENT"}[f.binlog])}
	if s.names(f) {
		attrs = append(attrs, slog.String("isolationVariable", f.name))
	}
	if refused := refusedToSet(tried); refused != nil {
		attrs = append(attrs, slog.Int("refusedWithError", int(refused.err.Number)))
	}
	s.logger.Info("mysqlinit: learned how this server takes the session's variables", attrs...)
}

// names tells whether the SET names the isolation variable: then that it
// succeeded says that the server knows the name.
func (s *session) names(f form) bool { return strings.Contains(s.setText(f, s.variables), f.name) }
