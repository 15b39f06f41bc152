package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
)

// session knows the statements that make a new connection what was asked for,
// and in which dialect this server wants them. One session serves all
// connections of a Connector.
type session struct {
	isolation    isolation
	binlog       binlog
	variables    []variable
	initCommands []string
	verify       bool
	logger       *slog.Logger

	timeout time.Duration // of preparing, with dial and handshake, and of restoring; 0: none

	// What the guard has to know.
	guard           bool
	restored        []variable // variables, and those that the driver sent
	repeatable      bool       // the SET alone makes a session again what prepare made it
	multiStatements bool       // a query may be several statements

	learned atomic.Pointer[form] // what the last SET that succeeded looked like
}

func newSession(chosen settings, of params) *session {
	s := &session{
		isolation:       chosen.level(),
		binlog:          chosen.binlog.value,
		variables:       of.variables,
		initCommands:    chosen.initCommands,
		verify:          chosen.verify.value,
		logger:          chosen.logger,
		timeout:         max(DefaultConnectTimeout, of.dialTimeout),
		guard:           chosen.guard.value,
		restored:        append(of.variables[:len(of.variables):len(of.variables)], of.sentByDriver...),
		multiStatements: of.multiStatements,
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if chosen.connectTimeout.given {
		s.timeout = chosen.connectTimeout.value
	}
	s.repeatable = !of.changedByCallback && s.setIsRepeatable()
	return s
}

// setIsRepeatable tells whether the SET gives the same session whatever the
// session is, and no init command has changed what it sets.
func (s *session) setIsRepeatable() bool {
	values := []variable{{value: s.isolation.expr}, {value: s.binlog.format}}
	for _, v := range append(values, s.restored...) {
		if strings.ContainsAny(v.value, "@(") { // reads another variable, or calls a function
			return false
		}
	}
	for _, command := range s.initCommands {
		if effectOf(command, true)&^setsVariable != 0 {
			return false
		}
		for _, v := range s.restored {
			if strings.Contains(strings.ToLower(command), v.bareName()) {
				return false
			}
		}
	}
	return true
}

// bound gives ctx the end of connectTimeout, where there is one.
func (s *session) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.timeout > 0 {
		return context.WithTimeout(ctx, s.timeout)
	}
	return ctx, func() {}
}

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

// mostForms bounds the SETs that are tried on one connection.
const mostForms = 3

// phases are what a connection is at, for errors.
const (
	phaseConnect = "connecting (dial and handshake)"
	phaseSet     = "setting the session's variables"
	phaseInit    = "running init command %d"
	phaseVerify  = "verifying the session"
)

// prepare runs on a connection all that was asked for, and returns the form of
// the SET. It calls at with each phase it enters. Its errors are InitErrors.
func (s *session) prepare(ctx context.Context, conn driver.Conn, at func(phase string)) (form, error) {
	at(phaseSet)
	f, err := s.setVariables(ctx, conn)
	if err != nil {
		return f, err
	}
	for i, command := range s.initCommands {
		phase := fmt.Sprintf(phaseInit, i+1)
		at(phase)
		if err := exec(ctx, conn, command); err != nil {
			return f, newInitError(command, phase+" failed", "", err)
		}
	}
	if s.verify {
		at(phaseVerify)
		return f, s.verifySession(ctx, conn, f)
	}
	return f, nil
}

// setVariables sends the one SET, in the form that worked last. Where a server
// answers that it does not know or allow that form, the form that its answer
// calls for is tried on the same connection. A SET of several items is applied
// whole or not at all.
func (s *session) setVariables(ctx context.Context, conn driver.Conn) (form, error) {
	f := s.firstForm()
	if known := s.learned.Load(); known != nil {
		f = *known
	}
	var tried []form
	var refused error // the answer to the SET that sets binlog_format, where that was no success
	var refusedText string
	statementFormat := false
	for {
		text := s.setText(f, s.variables)
		err := exec(ctx, conn, text)
		if err == nil {
			s.learn(f, refused)
			return f, nil
		}
		tried = append(tried, f)
		serverErr, ok := errors.AsType[*mysql.MySQLError](err)
		if !ok {
			return f, newInitError(text, phaseSet+" failed", "", err)
		}
		if f.binlog == setBinlog && serverErr.Number != errUnknownVariable {
			refused, refusedText = err, text
		}
		var next form
		if f.binlog == assertBinlog && serverErr.Number == errWrongValue && strings.Contains(serverErr.Message, statementFormatText) {
			statementFormat = true
			// The privilege may have been granted since it was last asked for.
			next = form{f.name, setBinlog, f.galera}
			if s.binlog.policy == BinlogAssert || refused != nil {
				return f, s.statementFormatError(text, err, refused)
			}
		} else {
			if statementFormat {
				return f, s.statementFormatError(text, err, refused)
			}
			next = s.nextForm(f, serverErr, tried)
		}
		if next == f || len(tried) == mostForms {
			if next == f && f.binlog != setBinlog && refused != nil && !s.quotesUserVariable(serverErr.Message) {
				// Refused without binlog_format too, and nobody is named: the item at
				// fault is another, and the server's first word about it counts.
				return f, s.setError(refusedText, refused)
			}
			return f, s.setError(text, err)
		}
		f = next
	}
}

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
	if s.isolation.expr == "" && needsRowLog(s.isolation.level) {
		return assertBinlog
	}
	return leaveBinlog
}

// nextForm returns the form that an answer calls for, and f itself where the
// answer is not about the form: then the fault is in a variable of the user's.
// Whose fault an error is, only the variable's name in its message says;
// messages may be translated, names are not.
func (s *session) nextForm(f form, err *mysql.MySQLError, tried []form) form {
	next := f
	switch err.Number {
	case errUnknownVariable:
		renamed := f
		renamed.name = oldName
		if f.name == oldName {
			renamed.name = newName
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
		case s.quotesUserVariable(err.Message):
		case !contains(tried, renamed): // it names nothing: try the forms in order
			next = renamed
		}
	case errAccessDenied, errGlobalVariable, errReadOnlyVar, errUnknown:
		aboutBinlog := err.Number == errAccessDenied || quotes(err.Message, "binlog_format") || !s.quotesUserVariable(err.Message)
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
	}
	if contains(tried, next) {
		return f
	}
	return next
}

func contains(forms []form, f form) bool {
	for _, known := range forms {
		if known == f {
			return true
		}
	}
	return false
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

func (s *session) quotesUserVariable(message string) bool { return s.userVariable(message) != "" }

// userVariable returns the DSN's variable that a server's message names.
func (s *session) userVariable(message string) string {
	for _, v := range s.variables {
		if quotes(message, v.bareName()) {
			return v.name
		}
	}
	return ""
}

// learn keeps the form that worked, and logs it where it is news.
func (s *session) learn(f form, refused error) {
	if known := s.learned.Load(); known != nil && *known == f {
		return
	}
	s.learned.Store(&f)
	attrs := []any{slog.String("isolationVariable", f.name), slog.String("binlogFormat", [...]string{"left alone", "set to ROW", "asserted not to be STATEMENT"}[f.binlog])}
	if serverErr, ok := errors.AsType[*mysql.MySQLError](refused); ok {
		attrs = append(attrs, slog.Int("refusedWithError", int(serverErr.Number)))
	}
	s.logger.Info("mysqlinit: learned how this server takes the session's variables", attrs...)
}

// setText writes the SET: our own items first, so that nothing in a value of
// the DSN can comment them out. It is "" where there is nothing to set.
func (s *session) setText(f form, variables []variable) string {
	level := levelNames[s.isolation.level]
	var b strings.Builder
	item := func(name, value string) {
		if b.Len() == 0 {
			b.WriteString("SET ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(name + " = " + value)
		if strings.Contains(value, "--") || strings.Contains(value, "#") {
			b.WriteByte('\n') // a comment in it ends here, not behind the next item
		}
	}
	isolationItem := "@@SESSION." + f.name
	switch {
	case level == "":
	case f.binlog == assertBinlog:
		log := "@@GLOBAL.log_bin"
		if f.galera {
			log = "(@@GLOBAL.log_bin OR @@wsrep_on)"
		}
		item(isolationItem, "IF(@@SESSION.binlog_format = 'STATEMENT' AND "+log+", '"+statementFormatText+"', '"+level+"')")
	case f.binlog == leaveBinlog && s.binlog.format == "" && len(variables) == 0:
		// Every dialect takes this form, and SQL proxies follow it.
		return "SET SESSION TRANSACTION ISOLATION LEVEL " + strings.ReplaceAll(level, "-", " ")
	default:
		item(isolationItem, "'"+level+"'")
	}
	if f.binlog == setBinlog {
		item("@@SESSION.binlog_format", "'ROW'")
	}
	if s.isolation.expr != "" {
		item(isolationItem, s.isolation.expr)
	}
	if s.binlog.format != "" {
		item("@@SESSION.binlog_format", s.binlog.format)
	}
	for _, v := range variables {
		item(v.name, v.value)
	}
	return b.String()
}

// setError says whose item the server refused.
func (s *session) setError(text string, err error) error {
	reason, cure := phaseSet+" failed", ""
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		name := s.userVariable(serverErr.Message)
		denied := serverErr.Number == errAccessDenied
		switch {
		case name != "":
			reason = fmt.Sprintf("the server refused %s, which the DSN sets", name)
			cure = "correct that key of the DSN, or take it out"
		case denied && s.binlog.policy == BinlogRequireRow && s.binlog.format == "":
			reason = "binlog=require-row, but this account may not set binlog_format"
			cure = grant(serverErr.Message) + "; or use binlog=row, which does without where it safely can"
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
		}
	}
	return newInitError(text, reason, cure, err)
}

// statementFormatError explains why READ COMMITTED would not work here.
func (s *session) statementFormatError(text string, asserted, refused error) error {
	cause, message, why := asserted, "", "binlog=assert never changes the session's"
	if serverErr, ok := errors.AsType[*mysql.MySQLError](refused); ok {
		cause, message, why = refused, serverErr.Message, "this account may not change the session's"
	}
	return newInitError(text,
		"this server logs in STATEMENT format, with which InnoDB refuses every write of a "+strings.ReplaceAll(levelNames[s.isolation.level], "-", " ")+" transaction (error 1665), and "+why,
		"(1) set binlog_format = ROW (or MIXED) in the server's my.cnf; (2) isolation=server in the DSN keeps the server's isolation level; (3) binlog=server for a pool that only reads; (4) "+grant(message),
		cause)
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

// verifySession reads isolation level and binlog format back.
func (s *session) verifySession(ctx context.Context, conn driver.Conn, f form) error {
	wantLevel, wantFormat := s.expected(f)
	for _, name := range []string{f.name, map[string]string{newName: oldName, oldName: newName}[f.name]} {
		// LIMIT 1 stands above a sql_select_limit of 0.
		query := "SELECT @@SESSION." + name + ", @@SESSION.binlog_format LIMIT 1"
		row, err := queryRow(ctx, conn, query)
		if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok && serverErr.Number == errUnknownVariable {
			if quotes(serverErr.Message, "binlog_format") && wantFormat == "" {
				query = "SELECT @@SESSION." + name + ", '' LIMIT 1"
				row, err = queryRow(ctx, conn, query)
			} else if quotes(serverErr.Message, name) && name == f.name {
				continue
			}
		}
		if err != nil {
			return newInitError(query, phaseVerify+" failed", "", err)
		}
		return mismatch(query, row, wantLevel, wantFormat)
	}
	return nil // not reached: the last name returns
}

func mismatch(query string, row []string, wantLevel, wantFormat string) error {
	var wrong []string
	if wantLevel != "" && !strings.EqualFold(row[0], wantLevel) {
		wrong = append(wrong, fmt.Sprintf("isolation level %s instead of %s", row[0], wantLevel))
	}
	if wantFormat != "" && !strings.EqualFold(row[1], wantFormat) {
		wrong = append(wrong, fmt.Sprintf("binlog_format %s instead of %s", row[1], wantFormat))
	}
	if len(wrong) == 0 {
		return nil
	}
	return newInitError(query, "verify found "+strings.Join(wrong, " and "),
		"look for an init command, a variable of the DSN or a proxy in between that changes the session; without verify the difference would go unseen", nil)
}

// expected returns what verify shall find, "" where anything is right. What an
// init command chose last counts.
func (s *session) expected(f form) (level, format string) {
	level = levelNames[s.isolation.level]
	if s.isolation.expr != "" {
		level = ""
	}
	switch {
	case s.binlog.format != "":
		format = publicWord(s.binlog.format)
	case f.binlog == setBinlog:
		format = "ROW"
	}
	for _, command := range s.initCommands {
		for _, a := range assignments(tokenize(command)) {
			if a.scope == "global" || strings.HasPrefix(a.scope, "persist") {
				continue
			}
			words := make([]string, len(a.value))
			for i, t := range a.value {
				words[i] = t.text
			}
			value := strings.Join(words, " ")
			switch a.name {
			case "transaction":
				if rest, ok := strings.CutPrefix(strings.ToUpper(value), "ISOLATION LEVEL "); ok {
					rest, _, _ = strings.Cut(rest, " ,")
					level = levelWord(rest)
				}
			case newName, oldName:
				level = levelWord(value)
			case "binlog_format":
				format = publicWord(value)
			}
		}
	}
	return level, format
}

func levelWord(value string) string {
	level, _ := levelByName(value)
	return levelNames[level]
}

// publicWord returns ROW, MIXED or STATEMENT, and "" for any other expression.
func publicWord(value string) string {
	switch word := literal(value); word {
	case "ROW", "MIXED", "STATEMENT":
		return word
	}
	return ""
}

// exec runs one statement and drains its results. An empty one is none.
func exec(ctx context.Context, conn driver.Conn, query string) error {
	if query == "" {
		return nil
	}
	if execer, ok := conn.(driver.ExecerContext); ok {
		if _, err := execer.ExecContext(ctx, query, nil); err != driver.ErrSkip {
			return err
		}
	}
	stmt, err := prepareStmt(ctx, conn, query)
	if err != nil {
		return err
	}
	defer stmt.Close()
	if execer, ok := stmt.(driver.StmtExecContext); ok {
		_, err = execer.ExecContext(ctx, nil)
	} else {
		//lint:ignore SA1019 a wrapped driver may have nothing else
		_, err = stmt.Exec(nil)
	}
	return err
}

func prepareStmt(ctx context.Context, conn driver.Conn, query string) (driver.Stmt, error) {
	if preparer, ok := conn.(driver.ConnPrepareContext); ok {
		return preparer.PrepareContext(ctx, query)
	}
	return conn.Prepare(query)
}

// queryRow returns the first row of a result, as text.
func queryRow(ctx context.Context, conn driver.Conn, query string) (row []string, err error) {
	rows, closeStmt, err := queryRows(ctx, conn, query)
	if err != nil {
		return nil, err
	}
	defer closeStmt()
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(values); err == io.EOF {
		return nil, errors.New("the server returned no row")
	} else if err != nil {
		return nil, err
	}
	for _, v := range values {
		switch v := v.(type) {
		case []byte:
			row = append(row, string(v))
		default:
			row = append(row, fmt.Sprint(v))
		}
	}
	return row, nil
}

func queryRows(ctx context.Context, conn driver.Conn, query string) (driver.Rows, func(), error) {
	if queryer, ok := conn.(driver.QueryerContext); ok {
		if rows, err := queryer.QueryContext(ctx, query, nil); err != driver.ErrSkip {
			return rows, func() {}, err
		}
	}
	stmt, err := prepareStmt(ctx, conn, query)
	if err != nil {
		return nil, nil, err
	}
	var rows driver.Rows
	if queryer, ok := stmt.(driver.StmtQueryContext); ok {
		rows, err = queryer.QueryContext(ctx, nil)
	} else {
		//lint:ignore SA1019 a wrapped driver may have nothing else
		rows, err = stmt.Query(nil)
	}
	if err != nil {
		stmt.Close()
		return nil, nil, err
	}
	return rows, func() { stmt.Close() }, nil
}
