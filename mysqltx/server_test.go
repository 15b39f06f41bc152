package mysqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// The servers that the tests of this package share. One has a binary log, one doesn't.
var (
	mariaDB = &sharedServer{cfg: testserver.Config{Binlog: "MIXED", Args: timeoutRollsBack}}
	mySQL   = &sharedServer{cfg: testserver.Config{MySQL: true, Args: timeoutRollsBack}}
)

// timeoutRollsBack makes a lock wait timeout end the transaction, as a deadlock does. It
// can only be set when a server starts.
var timeoutRollsBack = []string{"--innodb-rollback-on-timeout=ON"}

// sharedServer is a server that the first test that needs it starts, and that runs
// until the last test has ended.
type sharedServer struct {
	cfg     testserver.Config
	mu      sync.Mutex
	started *testserver.Server
}

func (s *sharedServer) get(t *testing.T) *testserver.Server {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started == nil {
		s.started = testserver.New(withoutCleanup{t}, s.cfg)
	}
	return s.started
}

// withoutCleanup keeps a server running when the test that started it ends.
type withoutCleanup struct{ testserver.TB }

func (withoutCleanup) Cleanup(func()) {}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, s := range []*sharedServer{mariaDB, mySQL} {
		if s.started == nil {
			continue
		}
		if err := s.started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// database is a test's own database, with two tables: mysqltx_users, with a primary
// and two secondary unique keys, and mysqltx_log.
type database struct {
	*testserver.Server
	name string
}

var databases atomic.Int32

func newDatabase(t *testing.T, s *testserver.Server) database {
	t.Helper()
	d := database{s, fmt.Sprintf("mysqltx_%d", databases.Add(1))}
	testserver.Exec(t, openDSN(t, s.DSN(testserver.Root, "")),
		"CREATE DATABASE "+d.name,
		"GRANT ALL ON "+d.name+".* TO '"+testserver.App+"'@'%'")
	createTables(t, d.open(t, ""))
	return d
}

// onBoth runs a test on MariaDB and on MySQL at the same time.
func onBoth(t *testing.T, test func(t *testing.T, d database)) {
	for name, shared := range map[string]*sharedServer{"MariaDB": mariaDB, "MySQL": mySQL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newDatabase(t, shared.get(t)))
		})
	}
}

// onMariaDB returns a database on the shared MariaDB.
func onMariaDB(t *testing.T) database {
	t.Helper()
	return newDatabase(t, mariaDB.get(t))
}

// anyDSN returns the DSN of a database with the tables: on the server of the user who
// names one (testserver.EnvDSN), or on the shared MariaDB.
func anyDSN(t *testing.T) string {
	t.Helper()
	if os.Getenv(testserver.EnvDSN) == "" {
		d := onMariaDB(t)
		return d.dsn(testserver.App, d.Addr, "")
	}
	dsn := testserver.AnyDSN(t)
	db := openDSN(t, dsn)
	createTables(t, db)
	t.Cleanup(func() { _, _ = db.Exec(dropTables) })
	return dsn
}

// newDB opens a pool of one connection on anyDSN.
func newDB(t *testing.T) *sql.DB {
	t.Helper()
	db := openDSN(t, anyDSN(t))
	db.SetMaxOpenConns(1)
	return db
}

const dropTables = "DROP TABLE IF EXISTS mysqltx_users, mysqltx_log"

func createTables(t *testing.T, db *sql.DB) {
	t.Helper()
	testserver.Exec(t, db, dropTables,
		"CREATE TABLE mysqltx_users (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(50) NOT NULL, phone VARCHAR(20), UNIQUE KEY by_email (email), UNIQUE KEY by_phone (phone)) ENGINE=InnoDB",
		"CREATE TABLE mysqltx_log (id INT AUTO_INCREMENT PRIMARY KEY, entry VARCHAR(50) NOT NULL) ENGINE=InnoDB",
		"INSERT INTO mysqltx_log VALUES (1, 'one'), (2, 'two')")
}

// dsn returns the plain driver's DSN for an account. addr is the server's, or that of a
// proxy before it.
func (d database) dsn(account, addr, params string) string {
	return account + "@tcp(" + addr + ")/" + d.name + "?" + params
}

// open opens a pool with the plain driver.
func (d database) open(t *testing.T, params string) *sql.DB {
	t.Helper()
	return openDSN(t, d.dsn(testserver.Root, d.Addr, params))
}

func openDSN(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func count(t *testing.T, q mysqltx.Querier, what string) (n int) {
	t.Helper()
	if err := q.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+what).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func wantCount(t *testing.T, q mysqltx.Querier, what string, want int) {
	t.Helper()
	if got := count(t, q, what); got != want {
		t.Errorf("%d rows in %s, want %d", got, what, want)
	}
}

func wantNumber(t *testing.T, err error, want uint16) {
	t.Helper()
	if got := number(err); got != want {
		t.Errorf("got %v, want error %d", err, want)
	}
}

func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want an error with %q", err, text)
		}
	}
}

func number(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}

// getID and insertUser are a program's two functions. The email is the key.
func getID(email string) func(context.Context, mysqltx.Querier, string) (int64, error) {
	return func(ctx context.Context, q mysqltx.Querier, lock string) (id int64, err error) {
		err = q.QueryRowContext(ctx, "SELECT id FROM mysqltx_users WHERE email = ?"+lock, email).Scan(&id)
		return id, err
	}
}

func insertUser(email string) func(context.Context, mysqltx.Querier) (int64, error) {
	return func(ctx context.Context, q mysqltx.Querier) (int64, error) {
		result, err := q.ExecContext(ctx, "INSERT INTO mysqltx_users (email) VALUES (?)", email)
		if err != nil {
			return 0, err
		}
		return result.LastInsertId()
	}
}

func write(ctx context.Context, q mysqltx.Querier, entry string) error {
	_, err := q.ExecContext(ctx, "INSERT INTO mysqltx_log (entry) VALUES (?)", entry)
	return err
}

// plainLoop is the loop that programs write by hand instead of Run.
func plainLoop(ctx context.Context, db *sql.DB, fn func(context.Context, *sql.Tx) error) (err error) {
	for range mysqltx.DefaultAttempts {
		err = func() error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			if err := fn(ctx, tx); err != nil {
				return err
			}
			return tx.Commit()
		}()
		if number(err) != 1213 {
			return err
		}
	}
	return err
}

// loseDeadlock makes tx the victim of a deadlock over the rows 1 and 2 of mysqltx_log,
// and returns the error of its statement. The server chooses tx, no matter which of the
// two waits first, because the other transaction has changed more rows. That one is
// rolled back in the end.
func loseDeadlock(ctx context.Context, db *sql.DB, tx mysqltx.Querier) error {
	other, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = other.Close() }()
	exec := func(q mysqltx.Querier, statement string) error {
		_, err := q.ExecContext(ctx, statement)
		return err
	}
	heavy := "INSERT INTO mysqltx_log (entry) VALUES ('x')" + strings.Repeat(", ('x')", 99)
	err = errors.Join(
		exec(tx, "UPDATE mysqltx_log SET entry = 'mine' WHERE id = 1"),
		exec(other, "BEGIN"),
		exec(other, heavy),
		exec(other, "UPDATE mysqltx_log SET entry = 'theirs' WHERE id = 2"))
	if err != nil {
		return err
	}
	waited := make(chan error, 1)
	go func() { waited <- exec(other, "UPDATE mysqltx_log SET entry = 'theirs' WHERE id = 1") }()
	lost := exec(tx, "UPDATE mysqltx_log SET entry = 'mine' WHERE id = 2")
	if err := errors.Join(<-waited, exec(other, "ROLLBACK")); err != nil {
		return err
	}
	if number(lost) != 1213 {
		return fmt.Errorf("no deadlock, but %v", lost)
	}
	return lost
}
