package docs

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// onBoth runs a test on a server of either kind, because they answer differently.
func onBoth(t *testing.T, cfg testserver.Config, test func(t *testing.T, s *testserver.Server)) {
	for _, name := range []string{"MariaDB", "MySQL"} {
		cfg.MySQL = name == "MySQL"
		t.Run(name, func(t *testing.T) { test(t, testserver.Borrow(t, cfg)) })
	}
}

// pool opens a DSN with a driver. The pool ends with the test.
func pool(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// value returns the one value that a query finds.
func value(t *testing.T, q interface {
	QueryRow(string, ...any) *sql.Row
}, query string) (v string) {
	t.Helper()
	if err := q.QueryRow(query).Scan(&v); err != nil {
		t.Fatal(query+":", err)
	}
	return v
}

// wantValue fails unless a query finds one value, and that is it.
func wantValue(t *testing.T, q interface {
	QueryRow(string, ...any) *sql.Row
}, query, want string) {
	t.Helper()
	if got := value(t, q, query); got != want {
		t.Errorf("%s: got %q, want %q", query, got, want)
	}
}

// wantNumber fails unless err has the server's error of that number in it.
func wantNumber(t *testing.T, what string, err error, number uint16) {
	t.Helper()
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != number {
		t.Errorf("%s: got %v, want the server's error %d", what, err, number)
	}
}

// isolationVariable returns the name that a server has for the isolation level's
// variable.
func isolationVariable(s *testserver.Server) string {
	if s.MySQL {
		return "transaction_isolation"
	}
	return "tx_isolation"
}
