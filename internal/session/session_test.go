package session_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/session"
	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
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
	valuesFirst      bool // of two names that it does not know, reports the one in a value first
	privilege        string
	statement        bool // logs in STATEMENT format
}

var (
	mysql56     = server{oldName: true, privilege: "SUPER"}
	mysql97     = server{newName: true, valuesFirst: true, privilege: "SUPER, SYSTEM_VARIABLES_ADMIN or SESSION_VARIABLES_ADMIN"}
	mariadb1011 = server{oldName: true, wsrep: true, privilege: "SUPER, BINLOG ADMIN"}
	mariadb118  = server{oldName: true, newName: true, wsrep: true, privilege: "BINLOG ADMIN"}

	servers = map[string]server{"MySQL 5.6": mysql56, "MySQL 9.7": mysql97, "MariaDB 10.11": mariadb1011, "MariaDB 11.8": mariadb118}
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
			return serverError(1231, "Variable 'tx_isolation' can't be set to the value of '%s'", sysvar.StatementFormatText)
		}
		return nil
	}
}

// The policies of the DSN key binlog, as two booleans.
var (
	row        = session.Binlog{Set: true, Assert: true}
	requireRow = session.Binlog{Set: true}
	assert     = session.Binlog{Assert: true}
	leave      = session.Binlog{}
)

// testSession is a session.Session of the default configuration, with changes.
func testSession(changes ...func(*session.Config)) *session.Session {
	c := session.Config{Isolation: session.Isolation{Level: sql.LevelReadCommitted}, Binlog: row, Logger: slog.New(slog.DiscardHandler)}
	for _, change := range changes {
		change(&c)
	}
	return session.New(c)
}

func with(binlog session.Binlog) func(*session.Config) {
	return func(c *session.Config) { c.Binlog = binlog }
}
func at(isolation session.Isolation) func(*session.Config) {
	return func(c *session.Config) { c.Isolation = isolation }
}
func verified(c *session.Config) { c.Verify = true }

func setting(name, value string) func(*session.Config) {
	return func(c *session.Config) { c.Variables = append(c.Variables, sysvar.Variable{Name: name, Value: value}) }
}

func running(commands ...string) func(*session.Config) {
	return func(c *session.Config) { c.InitCommands = commands }
}

// prepare returns what a user would read of a failure, "" without one, and the
// server's error number.
func (c *scriptedConn) prepare(s *session.Session) (text string, number uint16) {
	c.sent = nil
	_, failure := s.Prepare(context.Background(), c, new(session.Progress))
	return shown(failure)
}

func shown(f *session.Failure) (text string, number uint16) {
	if f == nil {
		return "", 0
	}
	if serverErr, ok := errors.AsType[*mysql.MySQLError](f.Err); ok {
		number = serverErr.Number
	}
	return strings.Join([]string{f.Reason, f.Cure, sqltext.MaskAnswer(f.Statement, f.Err, f.Public...), sqltext.Mask(f.Statement, f.Public...)}, ": "), number
}

func TestDialectIsLearnedInThreeFormsAtMost(t *testing.T) {
	for policy, binlog := range map[string]session.Binlog{"row": row, "assert": assert} {
		for name, kind := range servers {
			for account, privileged := range map[string]bool{"an administrator": true, "an ordinary account": false} {
				t.Run(fmt.Sprintf("binlog=%s on %s as %s", policy, name, account), func(t *testing.T) {
					s := testSession(with(binlog))
					conn := &scriptedConn{answer: kind.as(privileged)}
					if text, _ := conn.prepare(s); text != "" {
						t.Fatal(text, conn.sent)
					}
					if len(conn.sent) > 3 {
						t.Errorf("tried %q", conn.sent)
					}
					last := conn.sent[len(conn.sent)-1]
					if asserts := strings.Contains(last, "IF("); asserts != (!privileged || binlog == assert) {
						t.Errorf("ended with %s", last)
					}
					if strings.Contains(last, "IF(") && strings.Contains(last, "wsrep_on") != kind.wsrep {
						t.Errorf("ended with %s", last)
					}
					if text, _ := conn.prepare(s); text != "" || len(conn.sent) != 1 || conn.sent[0] != last {
						t.Errorf("the second connection sent %q: %s", conn.sent, text)
					}
				})
			}
		}
	}
}

// mostForms is how many forms of the SET are tried on one connection at most.
const mostForms = 4

func TestDialectIsRelearnedAfterAFailover(t *testing.T) {
	for fromName, from := range servers {
		for toName, to := range servers {
			for _, privileged := range []struct{ from, to bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
				for _, binlog := range []session.Binlog{row, assert} {
					s := testSession(with(binlog))
					conn := &scriptedConn{answer: from.as(privileged.from)}
					if text, _ := conn.prepare(s); text != "" {
						t.Fatal(text)
					}
					conn.answer = to.as(privileged.to)
					if text, _ := conn.prepare(s); text != "" || len(conn.sent) > mostForms {
						t.Errorf("from %s to %s, policy %+v, privileged %+v: %s, sent %q", fromName, toName, binlog, privileged, text, conn.sent)
					}
				}
			}
		}
	}
}

// A failover to a server that logs in STATEMENT format, of whatever kind, is
// cured by the privilege or explained, and the next connection is no worse off.
func TestFailoverToAStatementServer(t *testing.T) {
	for fromName, from := range servers {
		for toName, to := range servers {
			to.statement = true
			for _, privileged := range []bool{true, false} {
				s := testSession()
				conn := &scriptedConn{answer: from.as(false)}
				if text, _ := conn.prepare(s); text != "" {
					t.Fatal(text)
				}
				conn.answer = to.as(privileged)
				for range 2 {
					text, _ := conn.prepare(s)
					if len(conn.sent) > mostForms {
						t.Errorf("from %s to %s: sent %q", fromName, toName, conn.sent)
					}
					if privileged != (text == "") || !privileged && !strings.Contains(text, "1665") {
						t.Errorf("from %s to %s, privileged %v: %s, sent %q", fromName, toName, privileged, text, conn.sent)
					}
				}
			}
		}
	}
}

func TestFormsAreTriedInOrderIfNothingIsNamed(t *testing.T) {
	conn := &scriptedConn{answer: func(query string) error {
		if strings.Contains(query, "transaction_isolation") {
			return serverError(1193, "Es gibt keine solche Variable")
		}
		return nil
	}}
	if text, _ := conn.prepare(testSession()); text != "" || len(conn.sent) != 2 {
		t.Errorf("got %s, sent %q", text, conn.sent)
	}
}

func TestBinlogFormatThatNobodyIsAllowedToSet(t *testing.T) {
	for _, number := range []uint16{1105, 1229, 1238} {
		refuseAssertion := false
		conn := &scriptedConn{answer: func(query string) error {
			if strings.Contains(query, "binlog_format = 'ROW'") || refuseAssertion && strings.Contains(query, "@@SESSION.binlog_format") {
				return serverError(number, "Variable 'binlog_format' is not for you")
			}
			return nil
		}}
		if text, _ := conn.prepare(testSession()); text != "" || len(conn.sent) != 2 || !strings.Contains(conn.sent[1], "IF(") {
			t.Errorf("error %d: got %s, sent %q", number, text, conn.sent)
		}
		refuseAssertion = true // the format has no session value at all
		if text, _ := conn.prepare(testSession()); text != "" || len(conn.sent) != 3 || !strings.HasPrefix(conn.sent[2], "SET SESSION TRANSACTION") {
			t.Errorf("error %d: got %s, sent %q", number, text, conn.sent)
		}
	}
}

func TestNothingIsAssertedIfNoRowLogIsNeeded(t *testing.T) {
	for _, isolation := range []session.Isolation{{Expr: "DEFAULT"}, {Level: sql.LevelSerializable}, {}, {Level: sql.LevelRepeatableRead}} {
		conn := &scriptedConn{answer: mariadb1011.as(false)}
		if text, _ := conn.prepare(testSession(at(isolation))); text != "" || strings.Contains(strings.Join(conn.sent, ""), "IF(") {
			t.Errorf("%+v: got %s, sent %q", isolation, text, conn.sent)
		}
	}
}

func TestWhatIsLearnedIsLoggedOnce(t *testing.T) {
	var log strings.Builder
	s := testSession(setting("sql_mode", "'hunter2'"), func(c *session.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	conn := &scriptedConn{answer: mariadb1011.as(false)}
	for range 3 {
		if text, _ := conn.prepare(s); text != "" {
			t.Fatal(text)
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
	if text, _ := conn.prepare(s); text != "" || strings.Count(log.String(), "\n") != 2 || !strings.Contains(log.String(), "set to ROW") {
		t.Errorf("after a failover: %s, %s", text, &log)
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
	if text, number := conn.prepare(testSession()); number != 1064 || !strings.Contains(text, "binlog=server") {
		t.Errorf("got %s", text)
	}
}

func TestNothingIsLearnedFromAFailure(t *testing.T) {
	var log strings.Builder
	s := testSession(setting("sql_mode", "'BOGUS'"), func(c *session.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	conn := &scriptedConn{answer: func(query string) error {
		if err := mariadb1011.as(true)(query); err != nil {
			return err
		}
		return serverError(1231, "Variable 'sql_mode' can't be set to the value of 'BOGUS'")
	}}
	text, _ := conn.prepare(s)
	first := conn.sent
	again, _ := conn.prepare(s)
	if text == "" || again == "" || log.Len() > 0 || !reflect.DeepEqual(conn.sent, first) {
		t.Errorf("got %s, then %s; logged %s; sent %q, then %q", text, again, &log, first, conn.sent)
	}
}

func TestGrantThatCameSinceIsUsedOnStatementFormat(t *testing.T) {
	s := testSession()
	conn := &scriptedConn{answer: mariadb1011.as(false)}
	if text, _ := conn.prepare(s); text != "" {
		t.Fatal(text)
	}
	kind := mariadb1011
	kind.statement = true
	conn.answer = kind.as(false)
	if text, number := conn.prepare(s); number != 1227 || len(conn.sent) != 2 {
		t.Errorf("got %s, sent %q", text, conn.sent)
	}
	conn.answer = kind.as(true)
	if text, _ := conn.prepare(s); text != "" {
		t.Errorf("after the GRANT: %s", text)
	}
	if form, failure := s.Prepare(t.Context(), conn, new(session.Progress)); failure != nil || !s.SetsBinlog(form) {
		t.Errorf("the next connection: %+v, %v", form, failure)
	}
}

func TestAssertNeverSetsTheFormat(t *testing.T) {
	kind := mysql97
	kind.statement = true
	conn := &scriptedConn{answer: kind.as(true)}
	if text, number := conn.prepare(testSession(with(assert))); number != 1231 || !strings.Contains(text, "1665") {
		t.Errorf("got %s", text)
	}
	for _, query := range conn.sent {
		if strings.Contains(query, "binlog_format = 'ROW'") {
			t.Errorf("sent %s", query)
		}
	}
}

func TestTheSET(t *testing.T) {
	const ours = "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = 'ROW'"
	for _, test := range []struct {
		changes []func(*session.Config)
		want    string // nothing is sent if it is ""
	}{
		{nil, ours},
		{[]func(*session.Config){with(leave)}, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"},
		{[]func(*session.Config){with(leave), at(session.Isolation{})}, ""},
		{[]func(*session.Config){with(leave), at(session.Isolation{}), setting("time_zone", "'UTC'")}, "SET time_zone = 'UTC'"},
		{[]func(*session.Config){setting("time_zone", "'UTC'"), setting("sql_mode", "'ANSI'")}, ours + ", time_zone = 'UTC', sql_mode = 'ANSI'"},
		{[]func(*session.Config){setting("a", "1 # one"), setting("b", "2")}, ours + ", a = 1 # one\n, b = 2"},
		{[]func(*session.Config){setting("time_zone", "'+00:00' -- utc"), setting("a", "1")}, ours + ", time_zone = '+00:00' -- utc\n, a = 1"},
		{[]func(*session.Config){at(session.Isolation{Expr: "DEFAULT"})}, "SET @@SESSION.transaction_isolation = DEFAULT, @@SESSION.binlog_format = 'ROW'"},
		{[]func(*session.Config){with(session.Binlog{Format: "MIXED"})}, "SET @@SESSION.transaction_isolation = 'READ-COMMITTED', @@SESSION.binlog_format = MIXED"},
		{[]func(*session.Config){at(session.Isolation{Level: sql.LevelSerializable}), with(assert)}, "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"},
		{[]func(*session.Config){with(assert)}, "SET @@SESSION.transaction_isolation = IF(@@SESSION.binlog_format = 'STATEMENT' AND (@@GLOBAL.log_bin OR @@wsrep_on), 'mysqlinit: binlog_format is STATEMENT', 'READ-COMMITTED')"},
		{[]func(*session.Config){setting("collation_connection", "utf16_bin")}, "SET @@SESSION.transaction_isolation = _latin1'READ-COMMITTED', @@SESSION.binlog_format = _latin1'ROW', collation_connection = utf16_bin"},
	} {
		conn := &scriptedConn{answer: func(string) error { return nil }}
		if text, _ := conn.prepare(testSession(test.changes...)); text != "" {
			t.Fatal(text)
		}
		if got := strings.Join(conn.sent, "; "); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// A privilege can be granted and revoked while the pool runs.
func TestBinlogFormatIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, server := range servers {
			s := testSession()
			conn := &scriptedConn{}
			connect := func(privileged bool, statements int) {
				t.Helper()
				conn.answer = server.as(privileged)
				text, _ := conn.prepare(s)
				last := conn.sent[len(conn.sent)-1]
				if text != "" || len(conn.sent) != statements || strings.Contains(last, "binlog_format = 'ROW'") != privileged {
					t.Errorf("%s, privileged %v: %s, sent %q, want %d statements", name, privileged, text, conn.sent, statements)
				}
			}
			conn.answer = server.as(false)
			conn.prepare(s) // learns the dialect
			for range 3 {
				connect(false, 1)
				time.Sleep(time.Minute)
			}
			time.Sleep(10 * time.Minute)
			connect(false, 2) // asks once
			connect(false, 1)
			time.Sleep(10 * time.Minute)
			connect(true, 1)
			connect(true, 1)
			connect(false, 2)
		}
	})
}

func TestUsersVariableIsBlamedNotOurs(t *testing.T) {
	for _, test := range []struct {
		name, value, message string
		number               uint16
		want                 string
	}{
		{"sql_mode", "'BOGUS'", "Variable 'sql_mode' can't be set to the value of 'BOGUS'", 1231, "refused sql_mode"},
		{"no_such", "1", "Unknown system variable 'no_such'", 1193, "refused no_such"},
		{"sql_log_bin", "0", "Access denied; you need (at least one of) the SUPER privilege(s) for this operation", 1227, "sql_log_bin"},
		{"max_statement_time", "5", "Unknown system variable 'max_statement_time'", 1193, "refused max_statement_time"},
		{"hostname", "'x'", "Variable 'hostname' is a read only variable", 1238, "refused hostname"},
	} {
		for _, privileged := range []bool{true, false} {
			conn := &scriptedConn{answer: func(query string) error {
				if err := mariadb118.as(privileged)(query); err != nil || !strings.Contains(query, test.name) {
					return err
				}
				return serverError(test.number, "%s", test.message)
			}}
			text, number := conn.prepare(testSession(setting(test.name, test.value)))
			if number != test.number || !strings.Contains(text, test.want) || strings.Contains(text, "BOGUS") != (test.value == "'BOGUS'") {
				t.Errorf("%s, privileged %v: got %s", test.name, privileged, text)
			}
			if len(conn.sent) > 2 {
				t.Errorf("%s: sent %q", test.name, conn.sent)
			}
			// It is also blamed if the format turned out to be STATEMENT before it.
			s := testSession(setting(test.name, test.value))
			conn.answer = mariadb118.as(false)
			if text, _ := conn.prepare(s); text != "" { // learns the assertion
				t.Fatal(text)
			}
			conn.answer = func(query string) error {
				if strings.Contains(query, "IF(") {
					return serverError(1231, "Variable can't be set to the value of '%s'", sysvar.StatementFormatText)
				}
				return serverError(test.number, "%s", test.message)
			}
			if text, _ := conn.prepare(s); test.number != 1227 && !strings.Contains(text, test.want) {
				t.Errorf("%s after the assertion: got %s", test.name, text)
			}
		}
	}
}

// A level that the DSN writes as a variable keeps its place. Aurora's readers and
// TiDB want another variable before it.
func TestLevelKeepsItsPlace(t *testing.T) {
	for _, rule := range []struct {
		server, before string // the variable that has to stand before the level
		refusal        error
	}{
		{"Aurora", "aurora_read_replica_read_committed", serverError(1231, "Variable 'transaction_isolation' can't be set to the value of 'READ-COMMITTED'")},
		{"TiDB", "tidb_skip_isolation_level_check", serverError(8048, "The isolation level 'SERIALIZABLE' is not supported. Set tidb_skip_isolation_level_check=1 to skip this error")},
	} {
		conn := &scriptedConn{answer: func(query string) error {
			if before := strings.Index(query, rule.before); before < 0 || before > strings.Index(query, "@@SESSION.transaction_isolation") {
				return rule.refusal
			}
			return nil
		}}
		after := func(c *session.Config) { c.LevelAfter = 1 }
		if text, _ := conn.prepare(testSession(setting(rule.before, "1"), setting("time_zone", "'UTC'"), after)); text != "" {
			t.Errorf("%s: %s", rule.server, text)
		}
		if got := conn.sent[0]; !strings.HasSuffix(got, ", time_zone = 'UTC'") {
			t.Errorf("%s: sent %s", rule.server, got)
		}
		// A level that is ours goes first, which such a server refuses.
		if text, number := conn.prepare(testSession(setting(rule.before, "1"))); text == "" || number == 8048 && !strings.Contains(text, "in this order") {
			t.Errorf("%s, level first: %q", rule.server, text)
		}
	}
}

func TestReasonsAndCures(t *testing.T) {
	for _, test := range []struct {
		about       string
		name, value string
		answer      error
		wants       []string
	}{
		{"a value without quotes, on a server that reads it as a variable", "sql_mode", "STRICT_TRANS_TABLES,NO_ZERO_DATE",
			serverError(1193, "Unknown system variable 'NO_ZERO_DATE'"), []string{"refused sql_mode", "sql_mode=%27…%27"}},
		{"vtgate quotes the whole item", "no_such", "1", serverError(1193, "Unknown system variable '@@no_such = 1'"), []string{"refused no_such", "no variable of that name"}},
		{"a variable of some servers only", "wsrep_sync_wait", "7", serverError(1193, "Unknown system variable 'wsrep_sync_wait'"), []string{"refused wsrep_sync_wait", "initCommand=%2F*M!+SET"}},
		{"a + that became a space", "time_zone", "' 08:00'", serverError(1298, "Unknown or incorrect time zone: ' 08:00'"), []string{"refused time_zone", "' 08:00'", "%2B"}},
		{"no time zone tables", "time_zone", "'Europe/Berlin'", serverError(1298, "Unknown or incorrect time zone: 'Europe/Berlin'"), []string{"'Europe/Berlin'", "mysql_tzinfo_to_sql"}},
		{"a mode that is none", "sql_mode", "'BOGUS'", serverError(1231, "Variable 'sql_mode' can't be set to the value of 'BOGUS'"), []string{"'BOGUS'", "manual"}},
		{"a user variable's value is not shown", "@tenant", "'hunter2'", serverError(1231, "Variable '@tenant' can't be set to the value of 'hunter2'"), []string{"@tenant", "its value"}},
		{"a global variable", "max_connections", "5", serverError(1229, "Variable 'max_connections' is a GLOBAL variable and should be set with SET GLOBAL"), []string{"max_connections", "cannot be set for a session"}},
		{"init_connect", "time_zone", "'UTC'", serverError(1184, "Aborted connection 5 to db: 'app' user: 'app' host: 'localhost' (init_connect command failed)"), []string{"init_connect fails"}},
	} {
		conn := &scriptedConn{answer: func(string) error { return test.answer }}
		text, _ := conn.prepare(testSession(setting(test.name, test.value)))
		for _, want := range test.wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q lacks %q", test.about, text, want)
			}
		}
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s", test.about, text)
		}
	}
}

// The last refusal is about the user's variable: the SET before it was refused for
// binlog_format, which needs another privilege.
func TestThePrivilegeThatTheUsersVariableNeedsIsNamed(t *testing.T) {
	conn := &scriptedConn{answer: func(query string) error {
		if strings.Contains(query, "binlog_format = 'ROW'") {
			return serverError(1227, "Access denied; you need (at least one of) the BINLOG ADMIN privilege(s) for this operation")
		}
		return serverError(1227, "Access denied; you need (at least one of) the BINLOG REPLAY privilege(s) for this operation")
	}}
	text, _ := conn.prepare(testSession(setting("gtid_domain_id", "7"), func(c *session.Config) { c.Isolation = session.Isolation{Level: sql.LevelRepeatableRead} }))
	if !strings.Contains(text, "gtid_domain_id") || !strings.Contains(text, "BINLOG REPLAY") || strings.Contains(text, "BINLOG ADMIN") {
		t.Errorf("got %s", text)
	}
}

// The cure depends on the server, and its GRANT names the account.
func TestTheCureOfStatementFormat(t *testing.T) {
	for _, test := range []struct{ readOnly, account, first, grantee string }{
		{"0", "app@%", "(1) SET GLOBAL binlog_format", "GRANT BINLOG ADMIN ON *.* TO 'app'@'%'"},
		{"1", "o'neil@10.0.0.1", "(1) binlog=server", "TO 'o''neil'@'10.0.0.1'"},
	} {
		kind := mariadb1011
		kind.statement = true
		conn := &readBackConn{level: test.readOnly, second: test.account}
		conn.answer = kind.as(false)
		_, failure := testSession().Prepare(t.Context(), conn, new(session.Progress))
		if text, _ := shown(failure); !strings.Contains(text, test.first) || !strings.Contains(text, test.grantee) {
			t.Errorf("%+v: %s", test, text)
		}
	}
}

func TestSeveralStatementsInOneInitCommand(t *testing.T) {
	const command = "SET a = 1; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;"
	for _, multi := range []bool{false, true} {
		conn := &scriptedConn{answer: func(query string) error {
			if query == command {
				return serverError(1064, "You have an error in your SQL syntax near 'SET SESSION TRANSACTION'")
			}
			return nil
		}}
		text, _ := conn.prepare(testSession(running(command), func(c *session.Config) { c.Multi = multi }))
		if strings.Contains(text, "its own initCommand") == multi {
			t.Errorf("multiStatements %v: %s", multi, text)
		}
	}
}

// A message can be as long as a packet. Nobody waits until all of its names are
// compared.
func TestOnlyTheBeginningOfAMessageIsRead(t *testing.T) {
	message := strings.Repeat("'a' ", 1<<20)
	conn := &scriptedConn{answer: func(string) error { return serverError(1193, "%s", message) }}
	done := make(chan string, 1)
	go func() {
		text, _ := conn.prepare(testSession(setting("b", "1"), setting("c", "2"), setting("d", "3")))
		done <- text
	}()
	select {
	case text := <-done:
		if text == "" {
			t.Error("no failure")
		}
	case <-time.After(20 * time.Second):
		t.Error("reading the message took longer than 20 s")
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
	if text, _ := conn.prepare(testSession()); text != "" || len(conn.sent) != 3 {
		t.Errorf("got %s, sent %q", text, conn.sent)
	}
}

func TestServerWithoutBinlogFormat(t *testing.T) {
	conn := &scriptedConn{answer: func(query string) error {
		if strings.Contains(query, "binlog_format") {
			return serverError(1193, "Unknown system variable 'binlog_format'")
		}
		return nil
	}}
	if text, _ := conn.prepare(testSession()); text != "" || !reflect.DeepEqual(conn.sent[1:], []string{"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"}) {
		t.Errorf("got %s, sent %q", text, conn.sent)
	}
	if text, _ := conn.prepare(testSession(with(requireRow))); text == "" {
		t.Error("require-row: no failure")
	}
}

func TestRestoreSendsAllVariablesOfTheDSN(t *testing.T) {
	s := testSession(setting("time_zone", "'UTC'"), func(c *session.Config) { c.SentByDriver = []sysvar.Variable{{Name: "sql_mode", Value: "'ANSI'"}} })
	conn := &scriptedConn{answer: mariadb1011.as(false)}
	form, failure := s.Prepare(t.Context(), conn, new(session.Progress))
	if failure != nil {
		t.Fatal(failure.Err)
	}
	prepared := conn.sent[len(conn.sent)-1]
	if failure := s.Restore(t.Context(), conn, form); failure != nil {
		t.Fatal(failure.Err)
	}
	if got := conn.sent[len(conn.sent)-1]; got != prepared+", sql_mode = 'ANSI'" {
		t.Errorf("prepared with %s, restored with %s", prepared, got)
	}
	conn.answer = func(string) error { return io.EOF }
	if failure := s.Restore(t.Context(), conn, form); failure == nil || failure.Err != io.EOF || !strings.Contains(failure.Reason, "restoring") {
		t.Errorf("got %+v", failure)
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

func TestPrepareAndExecIfTheExecerSkips(t *testing.T) {
	type key struct{}
	conn := &skippingConn{key: key{}}
	_, failure := testSession(running("DO 1")).Prepare(context.WithValue(t.Context(), key{}, 1), conn, new(session.Progress))
	if failure != nil || conn.closed != 2 {
		t.Errorf("got %+v, closed %d statements", failure, conn.closed)
	}
}

// readBackConn shows a session without a binlog format.
type readBackConn struct {
	scriptedConn
	level  string
	second string // the second column, if a query has one
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
	return &oneRow{values: []driver.Value{[]byte(c.level), c.second}}, nil
}

func TestVerifyOnAServerWithoutBinlogFormat(t *testing.T) {
	conn := &readBackConn{level: "READ-COMMITTED"}
	conn.answer = func(query string) error {
		if strings.Contains(query, "binlog_format") {
			return serverError(1193, "Unknown system variable 'binlog_format'")
		}
		return nil
	}
	s := testSession(verified)
	if _, failure := s.Prepare(t.Context(), conn, new(session.Progress)); failure != nil {
		t.Error(shown(failure))
	}
	conn.level = "REPEATABLE-READ"
	_, failure := s.Prepare(t.Context(), conn, new(session.Progress))
	if text, _ := shown(failure); !strings.Contains(text, "REPEATABLE-READ instead of READ-COMMITTED") {
		t.Errorf("got %s", text)
	}
}

func TestVerifyLearnsTheNameThatTheSETDidNotTell(t *testing.T) {
	conn := &readBackConn{level: "READ-COMMITTED"}
	asked := 0
	conn.answer = func(query string) error {
		if strings.HasPrefix(query, "SELECT") {
			asked++
		}
		if strings.Contains(query, "transaction_isolation") {
			return serverError(1193, "Unknown system variable 'transaction_isolation'")
		}
		return nil
	}
	s := testSession(verified, with(leave))
	for _, want := range []int{2, 1} {
		asked = 0
		if _, failure := s.Prepare(t.Context(), conn, new(session.Progress)); failure != nil || asked != want {
			t.Errorf("asked %d times instead of %d: %+v", asked, want, failure)
		}
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
		_, failure := testSession(verified).Prepare(t.Context(), conn, new(session.Progress))
		if text, _ := shown(failure); !strings.Contains(text, want) {
			t.Errorf("%d columns: got %s", columns, text)
		}
	}
}

func TestVerifyShowsOneLineOfWhatItFinds(t *testing.T) {
	conn := &readBackConn{level: "\x1b[2J\n" + strings.Repeat("x", 1<<20)}
	conn.answer = func(string) error { return nil }
	_, failure := testSession(verified).Prepare(t.Context(), conn, new(session.Progress))
	if text, _ := shown(failure); text == "" || len(text) > 2000 || strings.ContainsAny(text, "\x1b\n") {
		t.Errorf("got %.500q", text)
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

func TestPrepareAndExecIfThereIsNoExecer(t *testing.T) {
	conn := &bareConn{}
	if _, failure := testSession(running("DO 1", "DO 2")).Prepare(t.Context(), conn, new(session.Progress)); failure != nil {
		t.Fatal(failure.Err)
	}
	if len(conn.prepared) != 3 || conn.prepared[1] != "DO 1" || conn.prepared[2] != "DO 2" {
		t.Errorf("prepared %q", conn.prepared)
	}
}

// MySQL takes the whole of /*M! … */ for a comment, and answers that there is no
// statement.
func TestAnInitCommandForAnotherServerIsNothingToDo(t *testing.T) {
	for command, fails := range map[string]bool{
		"/*M! SET SESSION wsrep_sync_wait = 7 */":             false,
		"/*M! SET SESSION wsrep_sync_wait = 7 */; ":           false,
		"/*M! SET SESSION wsrep_sync_wait = 7 */; SET @x = 1": true, // which was not run
	} {
		conn := &scriptedConn{answer: func(query string) error {
			if query == command {
				return serverError(1065, "Query was empty")
			}
			return nil
		}}
		text, _ := conn.prepare(testSession(running(command, "SET @y = 1")))
		if (text != "") != fails || !fails && conn.sent[len(conn.sent)-1] != "SET @y = 1" {
			t.Errorf("%s: %q, sent %q", command, text, conn.sent)
		}
	}
}

// The name of the isolation variable is logged only if the SET proves it.
func TestOnlyAProvenNameIsLogged(t *testing.T) {
	for _, test := range []struct {
		isolation session.Isolation
		logged    bool
	}{
		{session.Isolation{}, false},
		{session.Isolation{Level: sql.LevelSerializable}, true},
	} {
		var log strings.Builder
		s := testSession(at(test.isolation), setting("sql_mode", "IF(@@transaction_isolation = 'SERIALIZABLE', 'ANSI', '')"),
			func(c *session.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		conn := &scriptedConn{answer: func(string) error { return nil }}
		if text, _ := conn.prepare(s); text != "" || strings.Contains(log.String(), "isolationVariable") != test.logged {
			t.Errorf("%+v: %s, logged %s", test.isolation, text, &log)
		}
	}
}

// A level or a format that the user wrote is the user's, whatever the server calls
// its variable.
func TestAWrongLevelOrFormatIsTheUsers(t *testing.T) {
	for _, test := range []struct {
		about  string
		change func(*session.Config)
		answer error
		wants  []string
	}{
		{"a level that is none", at(session.Isolation{Expr: "'COMMITTED'"}), serverError(1231, "Variable 'tx_isolation' can't be set to the value of 'COMMITTED'"),
			[]string{"refused transaction_isolation (or tx_isolation)", "'COMMITTED'", "write isolation="}},
		{"a level with a quote too many", at(session.Isolation{Expr: "'READ-COMMITTED's"}), serverError(1064, "You have an error near 's'"),
			[]string{"value of transaction_isolation (or tx_isolation)", "write isolation="}},
		{"a format that is none", with(session.Binlog{Format: "'ROWS'"}), serverError(1231, "Variable 'binlog_format' can't be set to the value of 'ROWS'"),
			[]string{"refused binlog_format", "'ROWS'", "manual"}},
	} {
		conn := &scriptedConn{answer: func(query string) error {
			if err := mariadb1011.as(true)(query); err != nil {
				return err
			}
			return test.answer
		}}
		text, _ := conn.prepare(testSession(test.change))
		for _, want := range test.wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q lacks %q", test.about, text, want)
			}
		}
	}
}
