package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

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
	privilege        string
	statement        bool // logs in STATEMENT format
}

var (
	mysql56     = server{oldName: true, privilege: "SUPER"}
	mysql97     = server{newName: true, privilege: "SUPER, SYSTEM_VARIABLES_ADMIN or SESSION_VARIABLES_ADMIN"}
	mariadb1011 = server{oldName: true, wsrep: true, privilege: "SUPER, BINLOG ADMIN"}
	mariadb118  = server{oldName: true, newName: true, wsrep: true, privilege: "BINLOG ADMIN"}
)

func (s server) as(privileged bool) func(query string) error {
	return func(query string) error {
		switch {
		case strings.Contains(query, "@@SESSION.transaction_isolation") && !s.newName:
			return serverError(1193, "Unknown system variable 'transaction_isolation'")
		case strings.Contains(query, "@@SESSION.tx_isolation") && !s.oldName:
			return serverError(1193, "Unknown system variable 'tx_isolation'")
		case strings.Contains(query, "wsrep_on") && !s.wsrep:
			return serverError(1193, "Unknown system variable 'wsrep_on'")
		case strings.Contains(query, "binlog_format = 'ROW'") && !privileged:
			return serverError(1227, "Access denied; you need (at least one of) the %s privilege(s) for this operation", s.privilege)
		case strings.Contains(query, "IF(") && s.statement:
			return serverError(1231, "Variable 'tx_isolation' can't be set to the value of '%s'", statementFormatText)
		}
		return nil
	}
}

func testSession(t *testing.T, dsn string, opts ...Option) *session {
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
	_, err := s.prepare(context.Background(), c, func(string) {})
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
					if len(conn.sent) > mostForms {
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
			for _, privileged := range []bool{true, false} {
				s := testSession(t, "/")
				conn := &scriptedConn{answer: from.as(privileged)}
				if err := conn.prepare(s); err != nil {
					t.Fatal(err)
				}
				conn.answer = to.as(privileged)
				if err := conn.prepare(s); err != nil || len(conn.sent) > mostForms {
					t.Errorf("from %s to %s, privileged %v: %v, sent %q", fromName, toName, privileged, err, conn.sent)
				}
			}
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
	if err := conn.prepare(s); err != nil || s.learned.Load().binlog != setBinlog {
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
	if _, err := s.prepare(t.Context(), conn, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if len(conn.prepared) != 3 || conn.prepared[1] != "DO 1" || conn.prepared[2] != "DO 2" {
		t.Errorf("prepared %q", conn.prepared)
	}
}
