//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	_ "github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

const (
	errDuplicateEntry = 1062
	errRecordChanged  = 1020 // MariaDB's from 11.6 on, at REPEATABLE READ: it ends the transaction
)

// library is a library as a program uses it.
type library[DB any] struct {
	plain     func(dsn string) (DB, error)            // as before
	prepared  map[string]func(dsn string) (DB, error) // the ways to name this driver instead
	begin     func(ctx context.Context, db DB) (transaction, error)
	close     func(DB) error
	duplicate func(t *testing.T, err error) // looks at what insert says of a duplicate key; nil: wantServerError
}

// transaction is one of the library's own, in the library's words.
type transaction struct {
	read     func(expr string) (string, error)
	get      func(name string) (found bool, err error)
	insert   func(name string) error
	rollback func() error
}

// race lets a transaction of the library lose the race of get-or-create. Prepared
// sessions then see the winner's row, and plain ones do not.
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

// lose plays the race in a transaction, whose session is checked as well.
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

// wantServerError fails where err is not the server's, as the driver returned it.
func wantServerError(t *testing.T, err error) {
	t.Helper()
	// Bare, as programs and libraries do that are older than errors.As.
	bare, ok := err.(*mysql.MySQLError)
	if !ok || bare.Number != errDuplicateEntry || number(err) != errDuplicateEntry {
		t.Errorf("got %T %v, want the server's error 1062", err, err)
	}
}

// number returns a server error's number, however deep it is, and 0 for any other
// error.
func number(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}

// querier is what *sql.Tx and *sql.Conn have.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// plainSQL is a transaction of database/sql, for what hands one out.
func plainSQL(ctx context.Context, q querier, rollback func() error) transaction {
	return transaction{
		read: func(expr string) (value string, err error) {
			err = q.QueryRowContext(ctx, "SELECT "+expr).Scan(&value)
			return value, err
		},
		get: func(name string) (bool, error) {
			err := q.QueryRowContext(ctx, "SELECT name FROM names WHERE name = ?", name).Scan(&name)
			if errors.Is(err, sql.ErrNoRows) {
				return false, nil
			}
			return err == nil, err
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
	return plainSQL(ctx, tx, tx.Rollback), nil
}

func openPlain(dsn string) (*sql.DB, error) { return sql.Open("mysql", dsn) }

// session is an expression for what a session was prepared to be.
func (s *server) session() string {
	return "CONCAT_WS(' ', " + s.isolation + ", @@SESSION.binlog_format)"
}

func (s *server) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		// Not the test's context, which has ended at cleanup.
		if _, err := s.plain.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

var databases atomic.Int32

// database makes a database of the test's own, with the table names, and returns its
// name.
func (s *server) database(t *testing.T) string {
	name := fmt.Sprintf("ecosystem%d", databases.Add(1))
	s.exec(t, "CREATE DATABASE "+name, "CREATE TABLE "+name+".names (name VARCHAR(20) PRIMARY KEY) ENGINE=InnoDB")
	t.Cleanup(func() { s.exec(t, "DROP DATABASE "+name) })
	return name
}

func (s *server) dsn(database string) string {
	return testserver.Root + "@tcp(" + s.Addr + ")/" + database
}

// want fails where a query's one value is another.
func (s *server) want(t *testing.T, query, want string) {
	t.Helper()
	if got := s.value(t, query); got != want {
		t.Errorf("%s: got %q, want %q", query, got, want)
	}
}

// await waits until a query's one value is the wanted.
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
