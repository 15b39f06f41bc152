package mysqlinit_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/ngrok/sqlmw"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/scripted"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// state is what the guard promises about a session.
type state struct {
	isolation, binlog, timeZone, database string
	autocommit, inTransaction             bool
}

var promised = state{isolation: "READ-COMMITTED", binlog: "ROW", timeZone: "+03:00", database: "test", autocommit: true}

// guarded is the parameters of a DSN whose sessions are as promised.
const guarded = "guard=true&time_zone=%27%2B03:00%27"

type queryRower interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

func readState(ctx context.Context, q queryRower) (s state, id int64, err error) {
	var database sql.NullString
	// MySQL has no @@in_transaction. LIMIT 1 overrides a sql_select_limit of 0.
	for _, variables := range []string{"@@SESSION.tx_isolation, @@in_transaction", "@@SESSION.transaction_isolation, 0"} {
		err = q.QueryRowContext(ctx, "SELECT "+variables+", @@SESSION.binlog_format, @@SESSION.time_zone, DATABASE(), @@autocommit, CONNECTION_ID() LIMIT 1").
			Scan(&s.isolation, &s.inTransaction, &s.binlog, &s.timeZone, &database, &s.autocommit, &id)
		if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1193 {
			break
		}
	}
	s.database = database.String
	return s, id, err
}

// onePool opens a pool of one connection, as Root.
func onePool(t testing.TB, s *testserver.Server, params string, opts ...mysqlinit.Option) *sql.DB {
	t.Helper()
	db, err := mysqlinit.Open(s.DSN(testserver.Root, params), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	return db
}

func TestGuardRestoresOrCloses(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, restoresOrCloses)
}

func restoresOrCloses(t *testing.T, s *testserver.Server) {
	root := open(t, s.DSN(testserver.Root, ""))
	testserver.Exec(t, root,
		"CREATE TABLE test.keep (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB",
		"CREATE PROCEDURE test.drift() SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
		"CREATE PROCEDURE test.opening() START TRANSACTION",
		"CREATE PROCEDURE test.manual() SET autocommit = 0")
	const same, restored, closed = "same", "restored", "closed"
	inTx := func(statements ...string) func(*sql.Conn) error {
		return func(c *sql.Conn) error {
			tx, err := c.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelSerializable})
			if err != nil {
				return err
			}
			for _, statement := range statements {
				if _, err := tx.Exec(statement); err != nil {
					return errors.Join(err, tx.Rollback())
				}
			}
			return tx.Commit()
		}
	}
	prepared := func(query string, args ...any) func(*sql.Conn) error {
		return func(c *sql.Conn) error {
			stmt, err := c.PrepareContext(context.Background(), query)
			if err != nil {
				return err
			}
			_, err = stmt.Exec(args...)
			return errors.Join(err, stmt.Close())
		}
	}
	text := func(statements ...string) func(*sql.Conn) error {
		return func(c *sql.Conn) error {
			for _, statement := range statements {
				if _, err := c.ExecContext(context.Background(), statement); err != nil {
					return fmt.Errorf("%s: %w", statement, err)
				}
			}
			return nil
		}
	}
	raw := func(use func(any) error) func(*sql.Conn) error {
		return func(c *sql.Conn) error { return c.Raw(use) }
	}
	isolation := isolationVariable(s)
	// Reading a transaction's level takes 110 ms. So all connections are used
	// first, and the next users' transactions stay open until all levels are read at once.
	var next []nextUser
	for _, test := range []struct {
		name string
		run  func(*sql.Conn) error
		want string
	}{ // "!" at the end of a name: only MariaDB knows the statement
		{"a query", text("DO 1", "INSERT INTO keep VALUES ()"), same},
		{"a transaction", inTx("INSERT INTO keep VALUES ()"), same},
		{"SET", text("SET SESSION " + isolation + " = 'SERIALIZABLE', time_zone = '+09:00'"), restored},
		{"SET binlog_format", text("SET binlog_format = 'MIXED'"), restored},
		{"the next transaction's level", text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), restored},
		{"SET in a transaction", inTx("SET SESSION time_zone = '+09:00'"), restored},
		{"a SET that fails halfway", func(c *sql.Conn) error {
			if text("SET time_zone = '+09:00'; SET sql_mode = 'BOGUS'")(c) == nil {
				return errors.New("no error")
			}
			return nil
		}, restored},
		{"several statements", text("DO 1; SET time_zone = '+09:00'; DO 2"), restored},
		{"a query with a SET in it", func(c *sql.Conn) error {
			rows, err := c.QueryContext(context.Background(), "SELECT 1; SET time_zone = '+09:00'")
			if err != nil {
				return err
			}
			return rows.Close()
		}, restored},
		{"a prepared SET", prepared("SET time_zone = ?", "+09:00"), restored},
		{"a SET with arguments", func(c *sql.Conn) error {
			_, err := c.ExecContext(context.Background(), "SET time_zone = ?", "+09:00")
			return err
		}, restored},
		{"Raw", raw(func(conn any) error {
			_, err := conn.(driver.ExecerContext).ExecContext(context.Background(), "SET time_zone = '+09:00'", nil)
			return err
		}), restored},
		{"Raw without context", raw(func(conn any) error {
			_, err := conn.(interface {
				Exec(string, []driver.Value) (driver.Result, error)
			}).Exec("SET time_zone = '+09:00'", nil)
			return err
		}), restored},
		{"Raw Query without context", raw(func(conn any) error {
			rows, err := conn.(interface {
				Query(string, []driver.Value) (driver.Rows, error)
			}).Query("SET time_zone = '+09:00'", nil)
			if err != nil {
				return err
			}
			return rows.Close()
		}), restored},
		{"Raw Begin without an end", raw(func(conn any) error {
			//lint:ignore SA1019 programs still call it
			_, err := conn.(driver.Conn).Begin()
			return err
		}), closed},
		{"Raw Prepare without context", raw(func(conn any) error {
			stmt, err := conn.(driver.Conn).Prepare("SET time_zone = '+09:00'")
			if err != nil {
				return err
			}
			_, err = stmt.(driver.StmtExecContext).ExecContext(context.Background(), nil)
			return errors.Join(err, stmt.Close())
		}), restored},
		{"CALL in a transaction", inTx("CALL drift()"), restored},
		{"BEGIN in a transaction", inTx("BEGIN"), restored},
		{"COMMIT AND CHAIN in a transaction", inTx("COMMIT AND CHAIN"), restored},
		{"EXECUTE IMMEDIATE in a transaction!", inTx("EXECUTE IMMEDIATE 'SET time_zone=''+09:00'' '"), closed},
		{"EXECUTE of a variable in a transaction", inTx("SET @text = 'SET autocommit = 0'", "PREPARE s FROM @text", "EXECUTE s"), closed},
		{"a CALL prepared in a transaction and executed after it", func(c *sql.Conn) error {
			tx, err := c.BeginTx(context.Background(), nil)
			if err != nil {
				return err
			}
			stmt, err := c.PrepareContext(context.Background(), "CALL manual()")
			if err != nil {
				return err
			}
			if err := tx.Commit(); err != nil {
				return err
			}
			_, err = stmt.Exec()
			return errors.Join(err, stmt.Close())
		}, closed},
		{"two transactions at once", func(c *sql.Conn) error {
			first, err := c.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelSerializable})
			if err != nil {
				return err
			}
			second, err := c.BeginTx(context.Background(), nil)
			if err != nil {
				return err
			}
			return errors.Join(second.Commit(), first.Commit()) // both are nil with the plain driver
		}, closed},
		{"DDL", text("CREATE TABLE other (`only` INT, `begin` INT) DEFAULT CHARSET=utf8mb4", "ALTER TABLE other CONVERT TO CHARACTER SET utf8mb4", "DROP TABLE other"), same},
		{"CALL", text("CALL drift()"), closed},
		{"CALL that opens a transaction", text("CALL opening()"), closed},
		{"a prepared CALL", prepared("CALL opening()"), closed},
		{"EXECUTE", text("PREPARE s FROM 'SET time_zone=''+09:00'''", "EXECUTE s"), closed},
		{"EXECUTE IMMEDIATE!", text("EXECUTE IMMEDIATE 'START TRANSACTION'"), closed},
		{"BEGIN NOT ATOMIC!", text("BEGIN NOT ATOMIC SET SESSION " + isolation + "='SERIALIZABLE'; END"), closed},
		{"IF!", text("IF 1 THEN SET SESSION " + isolation + "='SERIALIZABLE'; END IF"), closed},
		{"BEGIN", text("BEGIN"), closed},
		{"START TRANSACTION", text("START TRANSACTION"), closed},
		{"START TRANSACTION, COMMIT AND CHAIN", text("START TRANSACTION", "COMMIT AND CHAIN"), closed},
		{"COMMIT AND CHAIN", text("COMMIT AND CHAIN"), closed},
		{"XA", text("XA START 'a'"), closed},
		{"XA in what was a transaction", func(c *sql.Conn) error {
			if inTx("COMMIT", "XA START 'b'")(c) == nil {
				return errors.New("COMMIT inside XA: no error")
			}
			return nil
		}, closed},
		{"USE", text("USE mysql"), closed},
		{"USE in a transaction", inTx("USE mysql"), closed},
		{"LOCK TABLES", text("LOCK TABLES keep WRITE"), closed},
		{"SET autocommit", text("SET autocommit = 0"), closed},
		{"SET autocommit, and back", text("SET autocommit = 0", "SET autocommit = 1"), same},
		{"SET autocommit in a transaction", inTx("SET @@SESSION.autocommit = 0"), closed},
		{"SET NAMES", text("SET NAMES latin1"), closed},
		{"SET TRANSACTION READ ONLY", text("SET TRANSACTION READ ONLY"), closed},
		{"words right after a version", text("SET /*!50000autocommit*/ = 0"), closed},
		{"CHAIN right after a version", text("COMMIT AND/*!50000CHAIN*/"), closed},
		{"an executable comment", text("/*!50000 SET SESSION " + isolation + "='SERIALIZABLE' */"), closed},
	} {
		if strings.HasSuffix(test.name, "!") && s.MySQL {
			continue
		}
		db := onePool(t, s, guarded+"&multiStatements=true")
		before, err := useOnce(t.Context(), db, test.run)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		t.Cleanup(func() { _ = tx.Rollback() })
		next = append(next, nextUser{test.name, db, tx, before, test.want == closed})
	}
	for _, user := range next {
		if _, err := user.tx.Exec("INSERT INTO keep VALUES ()"); err != nil {
			t.Errorf("%s: %v", user.name, err)
		}
	}
	levels := transactionLevels(t, root)
	for _, user := range next {
		t.Run(user.name, func(t *testing.T) {
			if err := user.tx.Rollback(); err != nil {
				t.Error(err)
			}
			got, after, err := readState(t.Context(), user.db)
			if err != nil {
				t.Fatal(err)
			}
			if got != promised {
				t.Errorf("the next user got %+v", got)
			}
			if level := levels[after]; level != "READ COMMITTED" {
				t.Errorf("the next transaction is %s", level)
			}
			if (after != user.before) != user.wantOther {
				t.Errorf("connection %d, then %d: want another one: %v", user.before, after, user.wantOther)
			}
		})
	}
}

// nextUser got its connection from a pool after another user had changed the session.
type nextUser struct {
	name      string
	db        *sql.DB
	tx        *sql.Tx
	before    int64 // the id of the connection that was used
	wantOther bool  // want another connection than that one
}

// useOnce runs use on a connection of the pool. It returns the connection's id.
func useOnce(ctx context.Context, db *sql.DB, use func(*sql.Conn) error) (id int64, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_, id, err = readState(ctx, conn)
	if err != nil {
		return 0, err
	}
	return id, use(conn)
}

// transactionLevels returns the isolation levels of the open transactions, by
// connection id. The session's variable does not show a level that was set for
// one transaction only. InnoDB refreshes innodb_trx only if nobody has read it
// for 100 ms.
func transactionLevels(t testing.TB, db *sql.DB) map[int64]string {
	t.Helper()
	time.Sleep(110 * time.Millisecond)
	rows, err := db.QueryContext(t.Context(), "SELECT trx_mysql_thread_id, trx_isolation_level FROM information_schema.innodb_trx")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	levels := make(map[int64]string)
	for rows.Next() {
		var id int64
		var level string
		if err := rows.Scan(&id, &level); err != nil {
			t.Fatal(err)
		}
		levels[id] = level
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return levels
}

// transactionLevel returns the isolation level of q's open transaction, as
// transactionLevels does.
func transactionLevel(t testing.TB, q queryRower) (level string) {
	t.Helper()
	for range 50 {
		err := q.QueryRowContext(context.Background(), "SELECT trx_isolation_level FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()").Scan(&level)
		if err == nil {
			return level
		}
		if !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
		time.Sleep(110 * time.Millisecond)
	}
	t.Fatal("InnoDB does not show the transaction")
	return ""
}

func TestGuardRoundTrips(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	var turns atomic.Int32
	registerTurns(t, "guard-turns", &turns)
	db, err := sql.Open(mysqlinit.DriverName, testserver.Root+"@guard-turns("+s.Addr+")/test?"+guarded)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	count := func(use func(conn *sql.Conn)) int32 {
		t.Helper()
		turns.Store(0)
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		use(conn)
		conn.Close()
		return turns.Load()
	}
	exec := func(query string, args ...any) func(*sql.Conn) {
		return func(conn *sql.Conn) {
			if _, err := conn.ExecContext(t.Context(), query, args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	nothing := func(*sql.Conn) {}
	count(nothing)
	for _, test := range []struct {
		name string
		use  func(*sql.Conn)
		want int32
	}{
		{"a clean checkout", nothing, 0},
		{"a query", exec("DO 1"), 1},
		{"after a query", nothing, 0},
		{"a SET", exec("SET time_zone = '+09:00'"), 1},
		{"after a SET", nothing, 1},
		{"after it was restored", nothing, 0},
		// Three: prepare, execute, query. The server does not answer a close.
		{"a SET prepared and closed, a query", func(conn *sql.Conn) {
			exec("SET time_zone = ?", "+09:00")(conn)
			exec("DO 1")(conn)
		}, 3},
		{"after a SET was prepared", nothing, 1},
		{"at every later checkout", nothing, 1},
	} {
		if got := count(test.use); got != test.want {
			t.Errorf("%s: %d round trips, want %d", test.name, got, test.want)
		}
	}
}

func TestGuardOnAnOrdinaryAccount(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	db := open(t, s.DSN(testserver.App, "guard=true"))
	db.SetMaxOpenConns(1)
	_, before, err := readState(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	testserver.Exec(t, db, "SET SESSION tx_isolation = 'SERIALIZABLE'")
	got, after, err := readState(t.Context(), db)
	if err != nil || got.isolation != "READ-COMMITTED" || got.binlog != "MIXED" || after != before {
		t.Errorf("got %+v, connection %d after %d, %v", got, after, before, err)
	}
}

// The SET restores only what the settings name. If a statement changes
// something that they leave to the server, the guard closes the connection.
func TestGuardClosesWhatTheServerDecides(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	testserver.Exec(t, open(t, s.DSN(testserver.Root, "")), "CREATE PROCEDURE test.manual() SET autocommit = 0")
	for _, test := range []struct{ params, statement string }{
		{"isolation=server", "SET SESSION tx_isolation = 'SERIALIZABLE'"},
		{"isolation=server", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"},
		{"binlog=server", "SET binlog_format = 'STATEMENT'"},
		{"binlog=assert", "SET binlog_format = 'ROW'"},
		{"sql_mode=CONCAT(@@sql_mode,',ANSI')", "SET sql_mode = ''"},
		{"initCommand=SET+tx_isolation='SERIALIZABLE'", "SET SESSION tx_isolation = 'READ-UNCOMMITTED'"},
		{"initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE", "SET @x = 1"},
		{"autocommit=0", "SET SESSION tx_isolation = 'SERIALIZABLE'"},
		{"autocommit=0", "SET autocommit = 1"},
		{"initCommand=SET+autocommit=0", "SET autocommit = 1"},
		{"initCommand=CALL+manual()", "SET autocommit = 1"},
	} {
		db := onePool(t, s, "guard=true&"+test.params)
		read := func() (got [2]any) {
			t.Helper()
			session, _, err := readState(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			return [2]any{session, readVariable(t, db, "@@sql_mode")}
		}
		before := read()
		testserver.Exec(t, db, test.statement)
		if after := read(); after != before {
			t.Errorf("%s, then %s: got %v, want %v", test.params, test.statement, after, before)
		}
	}
}

// The guard closes a connection if neither the end of a transaction nor the SET
// undoes what ran in the transaction.
func TestGuardClosesAfterATransaction(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	testserver.Exec(t, open(t, s.DSN(testserver.Root, "")), "CREATE DATABASE app",
		"CREATE PROCEDURE test.drift() SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE")
	for _, test := range []struct{ params, statement string }{
		{"", "BEGIN NOT ATOMIC DROP DATABASE app; END"},
		{"isolation=server", "CALL drift()"},
	} {
		db := onePool(t, s, "guard=true&"+test.params)
		_, before, err := readState(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(test.statement); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, after, err := readState(t.Context(), db); err != nil || after == before {
			t.Errorf("%s, %s: connection %d, then %d, %v", test.params, test.statement, before, after, err)
		}
	}
}

// The guard keeps the connection of a transaction of mysqltx.
func TestGuardKnowsMysqltx(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		db := onePool(t, s, "guard=true&time_zone='%2B03:00'")
		_, before, err := readState(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		if err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "DO 1")
			return err
		}); err != nil {
			t.Error(err)
		}
		noMoney := errors.New("no money")
		if err := mysqltx.Run(t.Context(), db, func(context.Context, *sql.Tx) error { return noMoney }); err != noMoney {
			t.Error(err)
		}
		got, after, err := readState(t.Context(), db)
		if err != nil || got != promised || after != before {
			t.Errorf("connection %d, then %d, with %+v, %v", before, after, got, err)
		}
	})
}

// In latin1 the byte 0xA0 is a space.
func TestGuardKnowsTheSpaceOfLatin1(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		db := onePool(t, s, "guard=true&charset=latin1")
		_, before, err := readState(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		testserver.Exec(t, db, "COMMIT AND\xa0CHAIN")
		if _, after, err := readState(t.Context(), db); err != nil || after == before {
			t.Errorf("connection %d, then %d, %v", before, after, err)
		}
	})
}

// A wrapped connector might switch autocommit off. The guard cannot know.
func TestGuardOverWrapDoesNotGuessAutocommit(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	cfg, err := mysql.ParseDSN(s.DSN(testserver.Root, "autocommit=0"))
	if err != nil {
		t.Fatal(err)
	}
	parent, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := mysqlinit.Wrap(parent, mysqlinit.WithGuard(true))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	db.SetMaxOpenConns(1)
	testserver.Exec(t, db, "SET autocommit = 0", "SET autocommit = 1")
	if got := readVariable(t, db, "@@autocommit"); got != "0" {
		t.Errorf("the next user got autocommit %s", got)
	}
}

func TestGuardKeepsAConfigsParams(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	for _, callback := range []bool{false, true} {
		db := openConfig(t, s.DSN(testserver.Root, guarded), func(cfg *mysql.Config) {
			if callback {
				apply(t, cfg, mysql.BeforeConnect(func(_ context.Context, c *mysql.Config) error {
					c.Params["time_zone"] = "'+05:00'"
					return nil
				}))
			}
		})
		db.SetMaxOpenConns(1)
		before, id, err := readState(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		testserver.Exec(t, db, "SET time_zone = '+09:00', SESSION tx_isolation = 'SERIALIZABLE'")
		after, newID, err := readState(t.Context(), db)
		if err != nil || after != before || (newID != id) != callback {
			t.Errorf("callback %v: got %+v, want %+v, connection %d after %d, %v", callback, after, before, newID, id, err)
		}
	}
}

func TestFailedRestorationIsErrBadConnAndLogged(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	var log strings.Builder
	db := onePool(t, s, guarded+"&wait_timeout=999999999", mysqlinit.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Under this sql_mode a number is not cut to the largest that is allowed: error 1231.
	if _, err := conn.ExecContext(t.Context(), "SET @secret = 'hunter2', sql_mode = 'STRICT_ALL_TABLES'"); err != nil {
		t.Fatal(err)
	}
	err = conn.Raw(func(raw any) error {
		if err := raw.(driver.SessionResetter).ResetSession(t.Context()); err != driver.ErrBadConn {
			t.Errorf("ResetSession returned %v", err)
		}
		if raw.(driver.Validator).IsValid() {
			t.Error("the connection still counts as valid")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"level=WARN", "could not be restored", "Error 1231"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, &log)
		}
	}
	conn.Close()
	wantSession(t, db, "READ-COMMITTED", "ROW") // on another connection
}

func TestGuardLogsWhyItCloses(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	var log strings.Builder
	db := onePool(t, s, guarded, mysqlinit.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	testserver.Exec(t, db, "SET NAMES utf8mb4, @x = 'hunter2'", "DO 1")
	if !strings.Contains(log.String(), `statement="SET NAMES`) || strings.Contains(log.String(), "hunter2") {
		t.Errorf("logged %s", &log)
	}
}

// The guard reads only the statements' texts. WithGuard documents this limit.
func TestGuardDoesNotSeeStoredFunctionsAndTriggers(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED", Args: []string{"--log-bin-trust-function-creators=1"}})
	root := open(t, s.DSN(testserver.Root, ""))
	testserver.Exec(t, root,
		"CREATE TABLE test.keep (id INT) ENGINE=InnoDB",
		"CREATE FUNCTION test.drift() RETURNS INT BEGIN SET SESSION tx_isolation = 'SERIALIZABLE'; RETURN 1; END",
		"CREATE TRIGGER test.drifts BEFORE INSERT ON test.keep FOR EACH ROW SET SESSION tx_isolation = 'SERIALIZABLE'")
	for _, statement := range []string{"SELECT drift()", "INSERT INTO keep VALUES (1)"} {
		db := onePool(t, s, guarded)
		testserver.Exec(t, db, statement)
		got, _, err := readState(t.Context(), db)
		if err != nil || got.isolation != "SERIALIZABLE" {
			t.Errorf("%s: got %+v, %v: the guard sees it now; change WithGuard's doc comment", statement, got, err)
		}
	}
	// It does not see what is sent through Unwrap either.
	db := onePool(t, s, guarded)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Raw(func(raw any) error {
		below := raw.(interface{ Unwrap() driver.Conn }).Unwrap()
		_, err := below.(driver.ExecerContext).ExecContext(t.Context(), "SET SESSION tx_isolation = 'SERIALIZABLE'", nil)
		return err
	})
	conn.Close()
	if got, _, readErr := readState(t.Context(), db); err != nil || readErr != nil || got.isolation != "SERIALIZABLE" {
		t.Errorf("through Unwrap: got %+v, %v, %v", got, err, readErr)
	}
}

func TestGuardOverWrapNamesWhatIsMissing(t *testing.T) {
	closed := false
	parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) {
		return &fakeConn{exec: func(context.Context) error { t.Error("a statement ran"); return nil }, onClose: func() { closed = true }}, nil
	}}
	_, err := wrap(t, parent, mysqlinit.WithGuard(true)).Connect(t.Context())
	if err == nil || !closed {
		t.Fatalf("got %v, closed %v", err, closed)
	}
	for _, want := range []string{"WithGuard", "fakeConn", "BeginTx", "ResetSession"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// With completion_type=1 (CHAIN) a COMMIT opens another transaction at the
// level of the one that it ends.
func TestGuardWithCompletionType(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	for _, params := range []string{"&completion_type=1&binlog=server", "&initCommand=SET+completion_type=1&binlog=server"} {
		for name, use := range map[string]func(db *sql.DB) error{
			"a transaction": func(db *sql.DB) error {
				tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable})
				if err != nil {
					return err
				}
				return tx.Commit()
			},
			"COMMIT": func(db *sql.DB) error { _, err := db.ExecContext(t.Context(), "COMMIT"); return err },
			"a prepared ROLLBACK": func(db *sql.DB) error {
				stmt, err := db.PrepareContext(t.Context(), "rollback")
				if err != nil {
					return err
				}
				_, err = stmt.Exec()
				return errors.Join(err, stmt.Close())
			},
		} {
			db := onePool(t, s, guarded+params)
			if err := use(db); err != nil {
				t.Fatal(err)
			}
			if got, _, err := readState(t.Context(), db); err != nil || got.inTransaction {
				t.Errorf("%s, %s: got %+v, %v", params, name, got, err)
			}
		}
	}
}

func TestWrapRefusesAGuardedConnector(t *testing.T) {
	inner := wrap(t, &fakeConnector{}, mysqlinit.WithGuard(true))
	if _, err := mysqlinit.Wrap(inner); err == nil || !strings.Contains(err.Error(), "give WithGuard to Wrap") {
		t.Errorf("got %v", err)
	}
}

// A wrapper hides what it wraps.
func TestWrapRefusesAGuardInsideAWrapper(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	connector := func(d driver.Driver, params string) driver.Connector {
		t.Helper()
		c, err := sqlmw.Driver(d, sqlmw.NullInterceptor{}).(driver.DriverContext).OpenConnector(s.DSN(testserver.Root, params))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ours := &mysqlinit.Driver{}
	for name, test := range map[string]struct {
		parent driver.Connector
		opts   []mysqlinit.Option
		works  bool
	}{
		"a guard":                       {connector(ours, "guard=true"), nil, false},
		"two guards":                    {connector(ours, "guard=true"), []mysqlinit.Option{mysqlinit.WithGuard(true)}, false},
		"a guard, only an init command": {connector(ours, "guard=true"), []mysqlinit.Option{mysqlinit.WithIsolation(0), mysqlinit.WithBinlog(mysqlinit.BinlogServer), mysqlinit.WithInitCommand("SET @a = 1")}, false},
		"a guard, two wrappers":         {connector(sqlmw.Driver(ours, sqlmw.NullInterceptor{}), "guard=true"), nil, false},
		"no guard":                      {connector(ours, ""), []mysqlinit.Option{mysqlinit.WithGuard(true)}, true},
		"no preparation above":          {connector(ours, "guard=true"), []mysqlinit.Option{mysqlinit.WithIsolation(0), mysqlinit.WithBinlog(mysqlinit.BinlogServer)}, true},
	} {
		db := sql.OpenDB(wrap(t, test.parent, test.opts...))
		defer db.Close()
		if err := db.PingContext(t.Context()); (err == nil) != test.works || err != nil && !strings.Contains(err.Error(), "give WithGuard to Wrap") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestGuardOverWrapOfTheDriver(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	parent, err := (&mysql.MySQLDriver{}).OpenConnector(s.DSN(testserver.Root, "multiStatements=true"))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(wrap(t, parent, mysqlinit.WithGuard(true)))
	defer db.Close()
	db.SetMaxOpenConns(1)
	testserver.Exec(t, db, "DO 1; SET SESSION tx_isolation = 'SERIALIZABLE'")
	wantSession(t, db, "READ-COMMITTED", "ROW")
}

// allocations counts the allocations of each way to use a pool.
func allocations(t *testing.T, db *sql.DB) map[string]float64 {
	t.Helper()
	ctx := context.Background()
	db.SetMaxOpenConns(1)
	prepared, err := db.PrepareContext(ctx, "SELECT ?")
	if err != nil {
		t.Fatal(err)
	}
	defer prepared.Close()
	allocs := make(map[string]float64)
	for name, use := range map[string]func() error{
		"ping":                 func() error { return db.PingContext(ctx) },
		"exec":                 func() error { _, err := db.ExecContext(ctx, "DO 1"); return err },
		"query":                func() error { return db.QueryRowContext(ctx, "SELECT 1").Scan(new(int)) },
		"query with arguments": func() error { return db.QueryRowContext(ctx, "SELECT ?", 1).Scan(new(int)) },
		"prepared query":       func() error { return prepared.QueryRowContext(ctx, 1).Scan(new(int)) },
		"transaction": func() error {
			tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
			if err != nil {
				return err
			}
			return tx.Commit()
		},
	} {
		allocs[name] = allocsPerRun(func() {
			if err := use(); err != nil {
				t.Fatal(err)
			}
		})
	}
	return allocs
}

func TestGuardAllocatesNothing(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	bare, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	plain, guard := allocations(t, bare), allocations(t, onePool(t, s, guarded))
	for name := range plain {
		if guard[name] > plain[name] {
			t.Errorf("%s: %v allocations, with the plain driver %v", name, guard[name], plain[name])
		}
	}
}

// TestGuardUnderLoad has many users who change the sessions of a pool at once.
func TestGuardUnderLoad(t *testing.T) {
	lasts, most := 30*time.Second, int64(math.MaxInt64)
	if testing.Short() {
		most = 2000
	}
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	root := open(t, s.DSN(testserver.Root, ""))
	testserver.Exec(t, root,
		"CREATE TABLE test.keep (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB",
		"CREATE PROCEDURE test.drift() SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE")
	db := open(t, s.DSN(testserver.Root, guarded+"&multiStatements=true"))
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	setPrepared, err := db.Prepare("SET time_zone = ?")
	if err != nil {
		t.Fatal(err)
	}
	defer setPrepared.Close()
	texts := []string{
		"SET SESSION tx_isolation = 'SERIALIZABLE'", "SET @@tx_isolation = 'READ-UNCOMMITTED'",
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ ONLY",
		"SET binlog_format = 'STATEMENT'", "set LOCAL time_zone = '+09:00'", "/* c */ SET time_zone = 'SYSTEM'",
		"SELECT 1; SET time_zone = '+09:00', tx_isolation = 'SERIALIZABLE'; SELECT 2", "SET autocommit = 0", "USE mysql", "BEGIN",
		"START TRANSACTION READ ONLY", "CALL drift()", "LOCK TABLES keep READ", "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
		"EXECUTE IMMEDIATE 'SET time_zone = ''+09:00'''", "BEGIN NOT ATOMIC SET SESSION tx_isolation='SERIALIZABLE'; END",
		"SELECT 1", "DO 1", "INSERT INTO keep VALUES ()", "SELECT nonsense",
	}
	var checkouts, changes, failed atomic.Int64
	deadline := time.Now().Add(lasts)
	var all sync.WaitGroup
	for i := range 64 {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		all.Go(func() {
			for time.Now().Before(deadline) && checkouts.Load() < most && failed.Load() == 0 {
				conn, err := db.Conn(context.Background())
				if err != nil {
					t.Errorf("checkout: %v", err)
					failed.Add(1)
					return
				}
				got, _, err := readState(context.Background(), conn)
				if err != nil || got != promised {
					t.Errorf("a checkout got %+v, %v", got, err)
					failed.Add(1)
				}
				checkouts.Add(1)
				ctx, cancel := context.WithCancel(context.Background())
				if random.IntN(20) == 0 {
					cancel()
					ctx, cancel = context.WithTimeout(context.Background(), time.Duration(random.IntN(1000))*time.Microsecond)
				}
				var ops interface {
					ExecContext(context.Context, string, ...any) (sql.Result, error)
				} = conn
				var tx *sql.Tx
				if random.IntN(3) == 0 {
					if tx, err = conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable}); err == nil {
						ops = tx
					}
				}
				for range 1 + random.IntN(2) {
					if random.IntN(5) == 0 {
						_, _ = ops.ExecContext(ctx, "SET SESSION tx_isolation = ?", "SERIALIZABLE")
					} else {
						_, _ = ops.ExecContext(ctx, texts[random.IntN(len(texts))])
					}
				}
				if tx != nil {
					if random.IntN(2) == 0 {
						_ = tx.Commit()
					} else {
						_ = tx.Rollback()
					}
				}
				if after, _, err := readState(ctx, conn); err == nil && after != promised {
					changes.Add(1)
				}
				cancel()
				conn.Close()
				if random.IntN(10) == 0 {
					_, _ = setPrepared.ExecContext(context.Background(), "+09:00") // on any of the pool's connections
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d checkouts, %d sessions changed by their users", checkouts.Load(), changes.Load())
	if changes.Load() < 100 {
		t.Errorf("only %d sessions were changed; want at least 100, else the test shows nothing", changes.Load())
	}
}

// A server can answer a PREPARE that was killed with a plain OK, on which the
// MySQL driver panics. database/sql would then never let go of a sql.Conn.
func TestGuardSurvivesAPrepareThatWasKilled(t *testing.T) {
	s := scripted.Start(t, scripted.Script{Prepare: scripted.OK(1)})
	db := open(t, s.DSN("guard=true"))
	db.SetMaxOpenConns(1)
	for name, use := range map[string]func(conn *sql.Conn) error{
		"Prepare": func(conn *sql.Conn) error { _, err := conn.PrepareContext(t.Context(), "SELECT 1"); return err },
		"Query":   func(conn *sql.Conn) error { return conn.QueryRowContext(t.Context(), "SELECT ?", 1).Scan(new(int)) },
		"Exec":    func(conn *sql.Conn) error { _, err := conn.ExecContext(t.Context(), "DO ?", 1); return err },
		"Commit": func(conn *sql.Conn) error {
			tx, err := conn.BeginTx(t.Context(), nil)
			if err != nil {
				return err
			}
			if _, err := tx.Prepare("SELECT 1"); err == nil {
				t.Error("Prepare: no error")
			}
			return tx.Commit()
		},
	} {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := use(conn); err == nil {
			t.Errorf("%s: no error", name)
		}
		within(t, func() { conn.Close() })
		wantClosed(t, s, 0)
	}
}
