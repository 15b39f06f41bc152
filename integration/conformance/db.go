package conformance

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// withParams adds parameters, such as "guard=true&verify=true", to a DSN.
func withParams(dsn, params string) string {
	if params == "" {
		return dsn
	}
	if strings.Contains(dsn[strings.LastIndex(dsn, "/")+1:], "?") {
		return dsn + "&" + params
	}
	return dsn + "?" + params
}

// open opens a pool with mysqlinit.
func open(t *testing.T, dsn, params string) *sql.DB {
	t.Helper()
	db, err := mysqlinit.Open(withParams(dsn, params))
	return opened(t, db, err)
}

// openPlain opens a pool with the MySQL driver alone.
func openPlain(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	return opened(t, db, err)
}

// opened returns a pool that was just opened, and closes it after the test.
func opened(t *testing.T, db *sql.DB, err error) *sql.DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxIdleConns(64) // most checks are not about connecting
	return db
}

// read returns the value of an SQL expression, "" for NULL.
func read(ctx context.Context, q mysqltx.Querier, expr string) (string, error) {
	var value sql.NullString
	err := q.QueryRowContext(ctx, "SELECT "+expr).Scan(&value)
	return value.String, err
}

// wantValue checks the value of an SQL expression.
func wantValue(t *testing.T, q mysqltx.Querier, expr, want string) {
	t.Helper()
	if got, err := read(t.Context(), q, expr); err != nil || got != want {
		t.Errorf("%s is %q, want %q; %v", expr, got, want, err)
	}
}

// table creates an empty table for the test, and returns its name.
func table(t *testing.T, db *sql.DB, name, columns string) string {
	t.Helper()
	name = "mysqlinit_" + name
	drop := "DROP TABLE IF EXISTS " + name
	testserver.Exec(t, db, drop, "CREATE TABLE "+name+" ("+columns+") ENGINE=InnoDB")
	t.Cleanup(func() { execAfter(t, db, drop) })
	return name
}

// execAfter runs statements after the test. One that waits for a transaction that
// nobody ends is an error after a minute.
func execAfter(t *testing.T, db *sql.DB, statements ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			t.Error(statement, err)
		}
	}
}

// number returns a server error's number, and 0 for any other error.
func number(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}

// wantInitError checks that err is an InitError that wraps a server error of that number
// (0: wraps none) and contains the texts.
func wantInitError(t *testing.T, err error, want uint16, texts ...string) {
	t.Helper()
	if _, ok := errors.AsType[*mysqlinit.InitError](err); !ok || number(err) != want {
		t.Errorf("got %v, want an InitError that wraps error %d", err, want)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not contain %q", err, text)
		}
	}
}

// anyTable returns the DSN of a database in which every table works, and one for sessions
// that are not the ones under test. Both are "" if there is no such database.
func (s *suite) anyTable() (dsn, direct string) {
	switch {
	case s.Unsharded != nil:
		return s.Unsharded.Root, s.Unsharded.Direct
	case s.facts.FormatIgnored: // vtgate knows only the tables in its schema
		return "", ""
	}
	return s.Root, s.Root
}
