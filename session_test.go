package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// scriptedConn answers each statement as a server of some kind would.
type scriptedConn struct {
	driver.Conn
	answer func(query string) error
	sent   []string
}

func (c *scriptedConn) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	c.sent = append(c.sent, query)
	return nil, c.answer(query)
}

func serverError(number uint16, format string, args ...any) error {
	return &mysql.MySQLError{Number: number, Message: fmt.Sprintf(format, args...)}
}

// server is a kind of server, as far as our SET goes.
type server struct {
	oldName, newName bool // the names that it knows
	wsrep            bool // knows wsrep_on
	valuesFirst      bool // names what it does not know in a value before what it shall set
	privilege        string
	statement        bool // logs in STATEMENT format
}

var (
	mysql56     = server{oldName: true, privilege: "SUPER"}
	mysql97     = server{newName: true, valuesFirst: true, privilege: "SUPER, SYSTEM_VARIABLES_ADMIN or SESSION_VARIABLES_ADMIN"}
	mariadb1011 = server{oldName: true, wsrep: true, privilege: "SUPER, BINLOG ADMIN"}
	mariadb118  = server{oldName: true, newName: true, wsrep: true, privilege: "BINLOG ADMIN"}
)

func (s server) as(privileged bool) func(query string) error {
	return func(query string) error {
		unknownValue := strings.Contains(query, "wsrep_on") && !s.wsrep
		switch {
		case unknownValue && s.valuesFirst:
			return serverError(1193, "Unknown system variable 'wsrep_on'")
		case strings.Contains(query, "@@SESSION.transaction_isolation") && !s.newName:
			return serverError(1193, "Unknown system variable 'transaction_isolation'")
		case strings.Contains(query, "@@SESSION.tx_isolation") && !s.oldName:
			return serverError(1193, "Unknown system variable 'tx_isolation'")
		case unknownValue:
			return serverError(1193, "Unknown system variable 'wsrep_on'")
		case strings.Contains(query, "binlog_format = 'ROW'") && !privileged:
			return serverError(1227, "Access denied; you need (at least one of) the %s privilege(s) for this operation", s.privilege)
		case strings.Contains(query, "IF(") && s.statement:
			return serverError(1231, "Variable 'tx_isolation' can't be set to the value of '%s'", statementFormatText)
		}
		return nil
	}
}

func testSession(t testing.TB, dsn string, opts ...Option) *session {
	t.Helper()
	d, err := NewDriver(opts...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.OpenConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*Connector).session
}

func (c *scriptedConn) prepare(s *session) error {
	c.sent = nil
	_, err := s.prepare(context.Background(), c, new(progress))
	return err
}

func TestDialectIsLearnedInThreeFormsAtMost(t *testing.T) {
	for _, policy := range []BinlogPolicy{BinlogRow, BinlogAssert} {
		for name, kind := range map[string]server{"MySQL 5.6": mysql56, "MySQL 9.7": mysql97, "MariaDB 10.11": mariadb1011, "MariaDB 11.8": mariadb118} {
			for _, privileged := range []bool{true, false} {
				t.Run(fmt.Sprint(policy, name, privileged), func(t *testing.T) {
					s := testSession(t, "/", WithBinlog(policy))
					conn := &scriptedConn{answer: kind.as(privileged)}
					if err := conn.prepare(s); err != nil {
						t.Fatal(err, conn.sent)
					}
					if len(conn.sent) > 3 {
						t.Errorf("tried %q", conn.sent)
					}
					last := conn.sent[len(conn.sent)-1]
					if asserts := strings.Contains(last, "IF("); asserts != (!privileged || policy == BinlogAssert) {
						t.Errorf("ended with %s", last)
					}
					if strings.Contains(last, "IF(") && strings.Contains(last, "wsrep_on") != kind.wsrep {
						t.Errorf("ended with %s", last)
					}
					if err := conn.prepare(s); err != nil || len(conn.sent) != 1 || conn.sent[0] != last {
						t.Errorf("the second connection sent %q: %v", conn.sent, err)
					}
				})
			}
		}
	}
}

func TestDialectIsRelearnedAfterAFailover(t *testing.T) {
	kinds := map[string]server{"MySQL 5.6": mysql56, "MySQL 9.7": mysql97, "MariaDB 10.11": mariadb1011, "MariaDB 11.8": mariadb118}
	for fromName, from := range kinds {
		for toName, to := range kinds {
			for _, privileged := range []struct{ from, to bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
				for _, policy := range []BinlogPolicy{BinlogRow, BinlogAssert} {
					s := testSession(t, "/", WithBinlog(policy))
					conn := &scriptedConn{answer: from.as(privileged.from)}
					if err := conn.prepare(s); err != nil {
						t.Fatal(err)
					}
					conn.answer = to.as(privileged.to)
					if err := conn.prepare(s); err != nil || len(conn.sent) > mostForms {
						t.Errorf("from %s to %s, policy %v, privileged %+v: %v, sent %q", fromName, toName, policy, privileged, err, conn.sent)
					}
				}
			}
		}
	}
}

// A failover to a server that logs in STATEMENT format, of whatever kind, is
// cured by the privilege or explained, and the next connection is no worse off.
func TestFailoverToAStatementServer(t *testing.T) {
	kinds := map[string]server{"MySQL 5.6": mysql56, "MySQL 9.7": mysql97, "MariaDB 10.11": mariadb1011, "MariaDB 11.8": mariadb118}
	for fromName, from := range kinds {
		for toName, to := range kinds {
			to.statement = true
			for _, privileged := range []bool{true, false} {
				s := testSession(t, "/")
				conn := &scriptedConn{answer: from.as(false)}
				if err := conn.prepare(s); err != nil {
					t.Fatal(err)
				}
				conn.answer = to.as(privileged)
				for range 2 {
					err := conn.prepare(s)
					if len(conn.sent) > mostForms {
						t.Errorf("from %s to %s: sent %q", fromName, toName, conn.sent)
					}
					if privileged != (err == nil) || !privileged && !strings.Contains(err.Error(), "1665") {
						t.Errorf("from %s to %s, privileged %v: %v, sent %q", fromName, toName, privileged, err, conn.sent)
					}
				}
			}
		}
	}
}

func TestFormsAreTriedInOrderWhereNothingIsNamed(t *testing.T) {
	conn := &scriptedConn{answer: func(query string) error {
		if strings.Contains(query, "transaction_isolation") {
			return serverError(1193, "Es gibt keine solche Variable")
		}
		return nil
	}}
	if err := conn.prepare(testSession(t, "/")); err != nil || len(conn.sent) != 2 {
		t.Errorf("got %v, sent %q", err, conn.sent)
	}
}

func TestBinlogFormatThatNobodyMaySet(t *testing.T) {
	for _, number := range []uint16{1105, 1229, 1238} {
		refuseAssertion := false
		conn := &scriptedConn{answer: func(query string) error {
			if strings.Contains(query, "binlog_format = 'ROW'") || refuseAssertion && strings.Contains(query, "@@SESSION.binlog_format") {
				return serverError(number, "Variable 'binlog_format' is not for you")
			}
			return nil
		}}
		if err := conn.prepare(testSession(t, "/")); err != nil || len(conn.sent) != 2 || !strings.Contains(conn.sent[1], "IF(") {
			t.Errorf("error %d: got %v, sent %q", number, err, conn.sent)
		}
		refuseAssertion = true // the format has no session value at all
		if err := conn.prepare(testSession(t, "/")); err != nil || len(conn.sent) != 3 || !strings.HasPrefix(conn.sent[2], "SET SESSION TRANSACTION") {
			t.Errorf("error %d: got %v, sent %q", number, err, conn.sent)
		}
	}
}

func TestNothingIsAssertedWhereNoRowLogIsNeeded(t *testing.T) {
	for _, query := range []string{"tx_isolation=DEFAULT", "isolation=serializable", "isolation=server", "isolation=repeatable-read"} {
		conn := &scriptedConn{answer: mariadb1011.as(false)}
		if err := conn.prepare(testSession(t, "/?"+query)); err != nil || strings.Contains(strings.Join(conn.sent, ""), "IF(") {
			t.Errorf("%s: got %v, sent %q", query, err, conn.sent)
		}
	}
}

func TestWhatIsLearnedIsLoggedOnce(t *testing.T) {
	var log strings.Builder
	s := testSession(t, "/?sql_mode='hunter2'", WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	conn := &scriptedConn{answer: mariadb1011.as(false)}
	for range 3 {
		if err := conn.prepare(s); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines: %s", n, &log)
	}
	for _, want := range []string{"isolationVariable=tx_isolation", "asserted not to be STATEMENT", "refusedWithError=1227"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, &log)
		}
	}
	conn.answer = mysql97.as(true)
	if err := conn.prepare(s); err != nil || strings.Count(log.String(), "\n") != 2 || !strings.Contains(log.String(), "set to ROW") {
		t.Errorf("after a failover: %v, %s", err, &log)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("a literal is logged: %s", &log)
	}
}

func TestAssertionThatAProxyDoesNotUnderstand(t *testing.T) {
	conn := &scriptedConn{answer: func(query string) error {
		if strings.Contains(query, "IF(") {
			return serverError(1064, "syntax error near 'IF('")
		}
		return mysql97.as(false)(query)
	}}
	err := conn.prepare(testSession(t, "/"))
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1064 || !strings.Contains(err.Error(), "binlog=server") {
		t.Errorf("got %v", err)
	}
}

func TestConnectTimeoutOfTheDSN(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"": DefaultConnectTimeout, "timeout=1m": time.Minute, "timeout=1s": DefaultConnectTimeout,
		"connectTimeout=5s&timeout=1m": 5 * time.Second, "connectTimeout=0": 0,
	} {
		if got := testSession(t, "/?"+query).timeout; got != want {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
}

func TestNothingIsLearnedFromAFailure(t *testing.T) {
	s := testSession(t, "/?sql_mode=%27BOGUS%27")
	conn := &scriptedConn{answer: func(query string) error {
		if err := mariadb1011.as(true)(query); err != nil {
			return err
		}
		return serverError(1231, "Variable 'sql_mode' can't be set to the value of 'BOGUS'")
	}}
	if err := conn.prepare(s); err == nil || s.learned.Load() != nil {
		t.Errorf("got %v, learned %v", err, s.learned.Load())
	}
}

func TestGrantThatCameSinceIsUsedOnStatementFormat(t *testing.T) {
	s := testSession(t, "/")
	conn := &scriptedConn{answer: mariadb1011.as(false)}
	if err := conn.prepare(s); err != nil {
		t.Fatal(err)
	}
	kind := mariadb1011
	kind.statement = true
	conn.answer = kind.as(false)
	err := conn.prepare(s)
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1227 || len(conn.sent) != 2 {
		t.Errorf("got %v, sent %q", err, conn.sent)
	}
	conn.answer = kind.as(true)
	if err := conn.prepare(s); err != nil || s.learned.Load().form.binlog != setBinlog {
		t.Errorf("after the GRANT: %v", err)
	}
}

func TestAssertNeverSetsTheFormat(t *testing.T) {
	kind := mysql97
	kind.statement = true
	conn := &scriptedConn{answer: kind.as(true)}
	err := conn.prepare(testSession(t, "/?binlog=assert"))
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1231 || !strings.Contains(err.Error(), "1665") {
		t.Errorf("got %v", err)
	}
	for _, query := range conn.sent {
		if strings.Contains(query, "binlog_format = 'ROW'") {
			t.Errorf("sent %s", query)
		}
	}
}

func TestTheSET(t *testing.T) {
	for _, test := range []struct{ query, want string }{
		{"", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = 'ROW'"},
		{"binlog=server", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"},
		{"binlog=server&isolation=server", ""},
		{"binlog=server&isolation=server&time_zone='UTC'", "SET time_zone = 'UTC'"},
		{"time_zone='UTC'&sql_mode='ANSI'", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = 'ROW', time_zone = 'UTC', sql_mode = 'ANSI'"},
		{"a=1+%23+one&b=2", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = 'ROW', a = 1 # one\n, b = 2"},
		{"time_zone='%2B00:00'+--+utc&a=1", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = 'ROW', time_zone = '+00:00' -- utc\n, a = 1"},
		{"tx_isolation=DEFAULT", "SET @@SESSION.binlog_format = 'ROW', @@SESSION.transaction_isolation = DEFAULT"},
		{"binlog_format=MIXED", "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = MIXED"},
		{"isolation=serializable&binlog=assert", "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"},
		{"binlog=assert", "SET @@SESSION.transaction_isolation = IF(@@SESSION.binlog_format = 'STATEMENT' AND (@@GLOBAL.log_bin OR @@wsrep_on), 'mysqlinit: binlog_format is STATEMENT', 'READ-COMMITTED')"},
	} {
		s := testSession(t, "/?"+test.query)
		if got := s.setText(s.firstForm(), s.variables); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.query, got, test.want)
		}
	}
}

func TestUsersVariableIsBlamedNotOurs(t *testing.T) {
	for _, test := range []struct {
		query, message string
		number         uint16
		want           string
	}{
		{"sql_mode='BOGUS'", "Variable 'sql_mode' can't be set to the value of 'BOGUS'", 1231, "refused sql_mode"},
		{"no_such=1", "Unknown system variable 'no_such'", 1193, "refused no_such"},
		{"sql_log_bin=0", "Access denied; you need (at least one of) the SUPER privilege(s) for this operation", 1227, "sql_log_bin"},
		{"max_statement_time=5", "Unknown system variable 'max_statement_time'", 1193, "refused max_statement_time"},
		{"hostname='x'", "Variable 'hostname' is a read only variable", 1238, "refused hostname"},
	} {
		name, _, _ := strings.Cut(test.query, "=")
		for _, privileged := range []bool{true, false} {
			conn := &scriptedConn{answer: func(query string) error {
				if err := mariadb118.as(privileged)(query); err != nil || !strings.Contains(query, name) {
					return err
				}
				return serverError(test.number, "%s", test.message)
			}}
			err := conn.prepare(testSession(t, "/?"+test.query))
			serverErr, ok := errors.AsType[*mysql.MySQLError](err)
			if !ok || serverErr.Number != test.number || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "BOGUS") {
				t.Errorf("%s, privileged %v: got %v", test.query, privileged, err)
			}
			if len(conn.sent) > 2 {
				t.Errorf("%s: sent %q", test.query, conn.sent)
			}
			// Also where the format turned out to be STATEMENT before it.
			assertion := testSession(t, "/?"+test.query)
			assertion.learned.Store(assertion.statement(form{name: newName, binlog: assertBinlog, galera: true}))
			conn.answer = func(query string) error {
				if strings.Contains(query, "IF(") {
					return serverError(1231, "Variable can't be set to the value of '%s'", statementFormatText)
				}
				return serverError(test.number, "%s", test.message)
			}
			if err := conn.prepare(assertion); test.number != 1227 && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s after the assertion: got %v", test.query, err)
			}
		}
	}
}

func TestTranslatedMessagesAreUnderstood(t *testing.T) {
	conn := &scriptedConn{answer: func(query string) error {
		if strings.Contains(query, "transaction_isolation") {
			return serverError(1193, "Unbekannte Systemvariable 'transaction_isolation'")
		}
		if strings.Contains(query, "binlog_format = 'ROW'") {
			return serverError(1227, "Kein Zugriff. Hierfür wird die Berechtigung BINLOG ADMIN benötigt")
		}
		return nil
	}}
	if err := conn.prepare(testSession(t, "/")); err != nil || len(conn.sent) != 3 {
		t.Errorf("got %v, sent %q", err, conn.sent)
	}
}

func TestServerWithoutBinlogFormat(t *testing.T) {
	conn := &scriptedConn{answer: func(query string) error {
		if strings.Contains(query, "binlog_format") {
			return serverError(1193, "Unknown system variable 'binlog_format'")
		}
		return nil
	}}
	s := testSession(t, "/")
	if err := conn.prepare(s); err != nil || !reflect.DeepEqual(conn.sent[1:], []string{"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"}) {
		t.Errorf("got %v, sent %q", err, conn.sent)
	}
	if err := conn.prepare(testSession(t, "/?binlog=require-row")); err == nil {
		t.Error("require-row: no error")
	}
}

// skippingConn takes a statement only prepared, and notes what became of it.
type skippingConn struct {
	driver.Conn
	key    any // of the value that contexts must have
	closed int
}

type skippingStmt struct {
	driver.Stmt
	conn *skippingConn
}

func (c *skippingConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return nil, driver.ErrSkip
}
func (c *skippingConn) PrepareContext(ctx context.Context, _ string) (driver.Stmt, error) {
	return &skippingStmt{conn: c}, wantValue(ctx, c.key)
}
func (s *skippingStmt) ExecContext(ctx context.Context, _ []driver.NamedValue) (driver.Result, error) {
	return nil, wantValue(ctx, s.conn.key)
}
func (s *skippingStmt) Close() error { s.conn.closed++; return nil }

func wantValue(ctx context.Context, key any) error {
	if ctx.Value(key) == nil {
		return errors.New("another context")
	}
	return nil
}

func TestPrepareAndExecWhereTheExecerSkips(t *testing.T) {
	type key struct{}
	conn := &skippingConn{key: key{}}
	_, err := testSession(t, "/", WithInitCommand("DO 1")).prepare(context.WithValue(t.Context(), key{}, 1), conn, new(progress))
	if err != nil || conn.closed != 2 {
		t.Errorf("got %v, closed %d statements", err, conn.closed)
	}
}

// readBackConn shows a session without a binlog format.
type readBackConn struct {
	scriptedConn
	level string
}

type oneRow struct {
	values []driver.Value
	read   bool
}

func (r *oneRow) Columns() []string { return make([]string, len(r.values)) }
func (r *oneRow) Close() error      { return nil }
func (r *oneRow) Next(dest []driver.Value) error {
	if r.read {
		return io.EOF
	}
	r.read = true
	copy(dest, r.values)
	return nil
}

func (c *readBackConn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if err := c.answer(query); err != nil {
		return nil, err
	}
	return &oneRow{values: []driver.Value{[]byte(c.level), ""}}, nil
}

func TestVerifyOnAServerWithoutBinlogFormat(t *testing.T) {
	conn := &readBackConn{level: "READ-COMMITTED"}
	conn.answer = func(query string) error {
		if strings.Contains(query, "binlog_format") {
			return serverError(1193, "Unknown system variable 'binlog_format'")
		}
		return nil
	}
	s := testSession(t, "/?verify=true")
	if _, err := s.prepare(t.Context(), conn, new(progress)); err != nil {
		t.Error(err)
	}
	conn.level = "REPEATABLE-READ"
	if _, err := s.prepare(t.Context(), conn, new(progress)); err == nil || !strings.Contains(err.Error(), "REPEATABLE-READ instead of READ-COMMITTED") {
		t.Errorf("got %v", err)
	}
}

// manyRows has rows without an end, and no Close that would come to one.
type manyRows struct {
	driver.Rows
	columns int
}

func (r manyRows) Columns() []string         { return make([]string, r.columns) }
func (r manyRows) Next([]driver.Value) error { return nil }

type manyRowsConn struct {
	scriptedConn
	columns int
}

func (c *manyRowsConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return manyRows{columns: c.columns}, nil
}

func TestVerifyTakesOneRowOfTwoColumns(t *testing.T) {
	for columns, want := range map[int]string{0: "0 columns", 1: "1 columns", 2: "more than one row", 3: "3 columns"} {
		conn := &manyRowsConn{columns: columns}
		conn.answer = func(string) error { return nil }
		_, err := testSession(t, "/?verify=true").prepare(t.Context(), conn, new(progress))
		if initErr, ok := errors.AsType[*InitError](err); !ok || !strings.Contains(initErr.Error(), want) {
			t.Errorf("%d columns: got %v", columns, err)
		}
	}
}

func TestVerifyShowsOneLineOfWhatItFinds(t *testing.T) {
	conn := &readBackConn{level: "\x1b[2J\n" + strings.Repeat("x", 1<<20)}
	conn.answer = func(string) error { return nil }
	_, err := testSession(t, "/?verify=true").prepare(t.Context(), conn, new(progress))
	if err == nil || len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("got %.500q", err)
	}
}

// bareConn has no ExecerContext: only Prepare.
type bareConn struct{ prepared []string }

type bareStmt struct{}

func (c *bareConn) Prepare(query string) (driver.Stmt, error) {
	c.prepared = append(c.prepared, query)
	return bareStmt{}, nil
}
func (*bareConn) Close() error                              { return nil }
func (*bareConn) Begin() (driver.Tx, error)                 { return nil, errors.New("not here") }
func (bareStmt) Close() error                               { return nil }
func (bareStmt) NumInput() int                              { return 0 }
func (bareStmt) Exec([]driver.Value) (driver.Result, error) { return nil, nil }
func (bareStmt) Query([]driver.Value) (driver.Rows, error)  { return nil, errors.New("not here") }

func TestPrepareAndExecWhereThereIsNoExecer(t *testing.T) {
	conn := &bareConn{}
	s := testSession(t, "/", WithInitCommand("DO 1"), WithInitCommand("DO 2"))
	if _, err := s.prepare(t.Context(), conn, new(progress)); err != nil {
		t.Fatal(err)
	}
	if len(conn.prepared) != 3 || conn.prepared[1] != "DO 1" || conn.prepared[2] != "DO 2" {
		t.Errorf("prepared %q", conn.prepared)
	}
}
