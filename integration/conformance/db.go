package conformance

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// with adds parameters, such as "guard=true&verify=true", to a DSN.
func with(dsn, params string) string {
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
	db, err := mysqlinit.Open(with(dsn, params))
	return opened(t, db, err)
}

// openPlain opens a pool with the MySQL driver alone.
func openPlain(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	return opened(t, db, err)
}

func opened(t *testing.T, db *sql.DB, err error) *sql.DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxIdleConns(64) // connecting is not what most checks are about
	return db
}

// read returns the value of an expression, "" for NULL.
func read(ctx context.Context, q mysqltx.Querier, expr string) (string, error) {
	var value sql.NullString
	err := q.QueryRowContext(ctx, "SELECT "+expr).Scan(&value)
	return value.String, err
}

// wantValue fails where an expression has not the value.
func wantValue(t *testing.T, q mysqltx.Querier, expr, want string) {
	t.Helper()
	if got, err := read(t.Context(), q, expr); err != nil || got != want {
		t.Errorf("%s is %q, want %q; %v", expr, got, want, err)
	}
}

// table makes a table for the test, and empties it where it is there.
func table(t *testing.T, db *sql.DB, name, columns string) string {
	t.Helper()
	name = "mysqlinit_" + name
	drop := "DROP TABLE IF EXISTS " + name
	testserver.Exec(t, db, drop, "CREATE TABLE "+name+" ("+columns+") ENGINE=InnoDB")
	t.Cleanup(func() {
		if _, err := db.ExecContext(context.WithoutCancel(t.Context()), drop); err != nil {
			t.Error(err)
		}
	})
	return name
}

// number returns a server error's number, and 0 for any other error.
func number(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}

// wantInitError fails where err is not an InitError with the server's number and the texts.
func wantInitError(t *testing.T, err error, want uint16, texts ...string) {
	t.Helper()
	if _, ok := errors.AsType[*mysqlinit.InitError](err); !ok || number(err) != want {
		t.Errorf("got %v, want an InitError with error %d within", err, want)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q lacks %q", err, text)
		}
	}
}
