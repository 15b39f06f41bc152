//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	_ "github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

const (
	errDuplicateEntry = 1062
	errRecordChanged  = 1020 // from MariaDB 11.6 or later at REPEATABLE READ, which also ends the transaction
)

// library describes how a program uses a library.
type library[DB any] struct {
	plain     func(dsn string) (DB, error)            // opens the library with the plain driver
	prepared  map[string]func(dsn string) (DB, error) // the ways to open it with this driver
	begin     func(ctx context.Context, db DB) (transaction, error)
	transact  func(ctx context.Context, db DB, fn func(transaction) error) error // the library's own way to run fn in a transaction; nil: begin and commit
	nests     bool                                                               // its transactions have nested
	close     func(DB) error
	duplicate func(t *testing.T, err error) // checks insert's error for a duplicate key; nil: wantServerError
}

// transaction is a transaction of the library. Its functions use the library's own calls.
type transaction struct {
	read     func(expr string) (string, error)
	get      func(name string) (found bool, err error)
	insert   func(name string) error
	rollback func() error
	commit   func() error                                 // nil if the library has transact
	nested   func(fn func(inner transaction) error) error // runs fn in a nested transaction, which is a SAVEPOINT
}

// race has a transaction of the library lose the race of get-or-create. A prepared session
// then sees the winner's row, and a plain one does not.
func (l library[DB]) race(t *testing.T) {
	if l.duplicate == nil {
		l.duplicate = wantServerError
	}
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Run("plain", func(t *testing.T) { l.play(t, s, l.plain, "REPEATABLE-READ MIXED", false) })
			for name, open := range l.prepared {
				t.Run(name, func(t *testing.T) { l.play(t, s, open, "READ-COMMITTED ROW", true) })
			}
		})
	}
}

// play plays the race once, on a pool of the library.
func (l library[DB]) play(t *testing.T, s *server, open func(string) (DB, error), session string, sees bool) {
	database := s.database(t)
	db, err := open(s.dsn(database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(db); err != nil {
			t.Error(err)
		}
	}()
	tx, err := l.begin(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tx.rollback(); err != nil {
			t.Error(err)
		}
	}()
	tx.lose(t, s, database, session, l.duplicate, sees)
}

// lose checks the transaction's session and has it lose the race. Afterwards the
// transaction sees the winner's row, or does not.
func (tx transaction) lose(t *testing.T, s *server, database, session string, duplicate func(*testing.T, error), sees bool) {
	t.Helper()
	if got, err := tx.read(s.session()); err != nil || got != session {
		t.Errorf("the transaction's session is %q, want %q; %v", got, session, err)
	}
	if found, err := tx.get("ann"); found || err != nil {
		t.Fatalf("before the race: found %t, %v", found, err)
	}
	s.exec(t, "INSERT INTO "+database+".names (name) VALUES ('ann')")
	switch err := tx.insert("ann"); {
	case err == nil:
		t.Fatal("the row was inserted twice")
	case !sees && number(err) == errRecordChanged:
		return
	default:
		duplicate(t, err)
	}
	if found, err := tx.get("ann"); found != sees || err != nil {
		t.Errorf("after the race: found %t, want %t; %v", found, sees, err)
	}
}

// wantServerError checks that err is the server's error 1062, as the driver returned it.
func wantServerError(t *testing.T, err error) {
	t.Helper()
	// A type assertion, as in programs and libraries that are older than errors.As.
	bare, ok := err.(*mysql.MySQLError)
	if !ok || bare.Number != errDuplicateEntry || number(err) != errDuplicateEntry {
		t.Errorf("got %T %v, want the server's error 1062", err, err)
	}
}

// number returns the number of the server error that err is or wraps, and 0 if there is
// none.
func number(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}

// found reports whether a read found its row. Its error is notFound if there was no row.
func found(err, notFound error) (bool, error) {
	if errors.Is(err, notFound) {
		return false, nil
	}
	return err == nil, err
}

// querier is an *sql.Tx or an *sql.Conn.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// sqlTransaction returns a transaction of database/sql, for libraries that hand out one.
func sqlTransaction(ctx context.Context, q querier, rollback func() error) transaction {
	return transaction{
		read: func(expr string) (value string, err error) {
			err = q.QueryRowContext(ctx, "SELECT "+expr).Scan(&value)
			return value, err
		},
		get: func(name string) (bool, error) {
			err := q.QueryRowContext(ctx, "SELECT name FROM names WHERE name = ?", name).Scan(&name)
			return found(err, sql.ErrNoRows)
		},
		insert: func(name string) error {
			_, err := q.ExecContext(ctx, "INSERT INTO names (name) VALUES (?)", name)
			return err
		},
		rollback: rollback,
	}
}

func beginSQL(ctx context.Context, db *sql.DB) (transaction, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return transaction{}, err
	}
	return sqlTransaction(ctx, tx, tx.Rollback), nil
}

func openPlain(dsn string) (*sql.DB, error) { return sql.Open("mysql", dsn) }

// session returns an SQL expression for a session's isolation level and binlog format.
func (s *server) session() string {
	return "CONCAT_WS(' ', " + s.isolation + ", @@SESSION.binlog_format)"
}

func (s *server) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		// Without cancel, because the test's context has ended when cleanups run.
		if _, err := s.plain.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

var databases atomic.Int32

//go:embed internal/sqlc/schema.sql
var schema string

// database creates a database for the test, which contains the tables names and users, and
// returns the database's name.
func (s *server) database(t *testing.T) string {
	name := fmt.Sprintf("ecosystem%d", databases.Add(1))
	s.exec(t, "CREATE DATABASE "+name)
	for table := range strings.SplitSeq(strings.TrimSpace(schema), "\n\n") {
		s.exec(t, strings.Replace(table, "CREATE TABLE ", "CREATE TABLE "+name+".", 1))
	}
	t.Cleanup(func() { s.exec(t, "DROP DATABASE "+name) })
	return name
}

func (s *server) dsn(database string) string {
	return testserver.Root + "@tcp(" + s.Addr + ")/" + database
}

// want checks the value of a query that returns one.
func (s *server) want(t *testing.T, query, want string) {
	t.Helper()
	if got := s.value(t, query); got != want {
		t.Errorf("%s: got %q, want %q", query, got, want)
	}
}

// await waits until a query that returns one value returns the wanted value.
func (s *server) await(t *testing.T, query, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); s.value(t, query) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not %q within a minute", query, want)
		}
	}
}

func (s *server) value(t *testing.T, query string) (value string) {
	t.Helper()
	if err := s.plain.QueryRowContext(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}
