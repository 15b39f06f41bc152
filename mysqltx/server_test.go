package mysqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// onBoth runs a test on MariaDB and on MySQL, with two tables: mysqltx_users, with
// a primary and a secondary unique key, and mysqltx_log.
func onBoth(t *testing.T, cfg testserver.Config, test func(t *testing.T, s *testserver.Server)) {
	for _, isMySQL := range []bool{false, true} {
		cfg.MySQL = isMySQL
		t.Run(map[bool]string{false: "MariaDB", true: "MySQL"}[isMySQL], func(t *testing.T) {
			s := testserver.New(t, cfg)
			setUp(t, open(t, s, ""))
			test(t, s)
		})
	}
}

func setUp(t *testing.T, db *sql.DB) {
	const drop = "DROP TABLE IF EXISTS mysqltx_users, mysqltx_log"
	t.Cleanup(func() { _, _ = db.Exec(drop) })
	testserver.Exec(t, db, drop,
		"CREATE TABLE mysqltx_users (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(50) NOT NULL, phone VARCHAR(20), UNIQUE KEY by_email (email), UNIQUE KEY by_phone (phone)) ENGINE=InnoDB",
		"CREATE TABLE mysqltx_log (id INT AUTO_INCREMENT PRIMARY KEY, entry VARCHAR(50) NOT NULL) ENGINE=InnoDB",
		"INSERT INTO mysqltx_log VALUES (1, 'one'), (2, 'two')")
}

// open opens a pool with the plain driver.
func open(t *testing.T, s *testserver.Server, params string) *sql.DB {
	t.Helper()
	return openDSN(t, s.DSN(testserver.Root, params))
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

// getID and insertUser are what a program writes. The email is the key.
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
// and returns what its statement failed with. The other transaction has changed more
// rows, and rolls back.
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
	if err := awaitLockWait(ctx, db); err != nil {
		return err
	}
	lost := exec(tx, "UPDATE mysqltx_log SET entry = 'mine' WHERE id = 2")
	if err := errors.Join(<-waited, exec(other, "ROLLBACK")); err != nil {
		return err
	}
	if number(lost) != 1213 {
		return fmt.Errorf("no deadlock, but %v", lost)
	}
	return lost
}

// awaitLockWait returns when a transaction waits for a lock. InnoDB renews that
// table only where nobody has read it for 100 ms.
func awaitLockWait(ctx context.Context, db *sql.DB) error {
	for range 300 {
		time.Sleep(120 * time.Millisecond)
		var waiting bool
		err := db.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'").Scan(&waiting)
		if err != nil || waiting {
			return err
		}
	}
	return errors.New("nobody waits for a lock")
}
