package docs

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// onBoth runs a test on a borrowed server of either kind, because they answer differently.
func onBoth(t *testing.T, cfg testserver.Config, test func(t *testing.T, s *testserver.Server)) {
	for name, isMySQL := range map[string]bool{"MariaDB": false, "MySQL": true} {
		cfg.MySQL = isMySQL
		t.Run(name, func(t *testing.T) { test(t, testserver.Borrow(t, cfg)) })
	}
}

// onBothFresh is onBoth with servers that only this test uses. In short mode it leaves out
// MySQL, whose start takes seconds.
func onBothFresh(t *testing.T, cfg testserver.Config, test func(t *testing.T, s *testserver.Server)) {
	for name, isMySQL := range map[string]bool{"MariaDB": false, "MySQL": true} {
		if isMySQL && testing.Short() {
			continue
		}
		cfg.MySQL = isMySQL
		t.Run(name, func(t *testing.T) { test(t, testserver.New(t, cfg)) })
	}
}

// logsStatements is a server on which READ COMMITTED cannot write unless the session logs
// rows. For an ordinary session it logs what comes with the default database test.
var logsStatements = testserver.Config{Binlog: "STATEMENT", Args: []string{"--binlog-do-db=test"}}

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

// querier is a pool or a transaction.
type querier interface {
	QueryRow(query string, args ...any) *sql.Row
}

// value returns the one value that a query finds.
func value(t *testing.T, q querier, query string) (v string) {
	t.Helper()
	if err := q.QueryRow(query).Scan(&v); err != nil {
		t.Fatal(query+":", err)
	}
	return v
}

// wantValue fails unless a query finds one value, and that is it.
func wantValue(t *testing.T, q querier, query, want string) {
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
