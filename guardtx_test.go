package mysqlinit_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// hazard is a table with rows 1 and 2, and a second session that makes others the
// victims of deadlocks.
type hazard struct {
	root *sql.DB // the plain driver
}

func newHazard(t *testing.T, s *testserver.Server) hazard {
	t.Helper()
	root, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	testserver.Exec(t, root,
		"CREATE TABLE hazard (id INT AUTO_INCREMENT PRIMARY KEY, entry VARCHAR(50) NOT NULL) ENGINE=InnoDB",
		"INSERT INTO hazard VALUES (1, 'one'), (2, 'two')")
	return hazard{root}
}

const (
	touchOne = "UPDATE hazard SET entry = CONCAT(entry, '+') WHERE id = 1"
	touchTwo = "UPDATE hazard SET entry = CONCAT(entry, '+') WHERE id = 2"
)

// deadlock makes a transaction that has touched row 1 the victim of a deadlock:
// touch touches row 2 in it. The other transaction survives, because it has
// changed more rows, and rolls back. The error is that of touch.
func (h hazard) deadlock(t *testing.T, touch func() error) error {
	t.Helper()
	other, err := h.root.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Rollback() }()
	testserver.Exec(t, other, "INSERT INTO hazard (entry) VALUES ('x')"+strings.Repeat(", ('x')", 99), touchTwo)
	waited := make(chan error, 1)
	go func() {
		_, err := other.ExecContext(t.Context(), touchOne)
		waited <- err
	}()
	// Not from information_schema.innodb_trx, which is renewed only if nobody has read
	// it for 100 ms.
	for waiting := "0"; waiting == "0"; time.Sleep(10 * time.Millisecond) {
		if err := h.root.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(new(string), &waiting); err != nil {
			t.Fatal(err)
		}
	}
	lost := touch()
	if err := <-waited; err != nil {
		t.Fatal("the victim is the other transaction, although it has changed more rows: ", errors.Join(err, lost))
	}
	return lost
}

// entries returns how many rows with this entry other sessions see.
func (h hazard) entries(t *testing.T, entry string) (n int) {
	t.Helper()
	if err := h.root.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM hazard WHERE entry = ?", entry).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func hasNumber(err error, number uint16) bool {
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && serverErr.Number == number
}

// Each way to meet a deadlock and go on must end in a refusal, and nothing of the
// transaction must be committed.
func TestGuardRefusesALostTransaction(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, refusesALostTransaction)
}

func refusesALostTransaction(t *testing.T, s *testserver.Server) {
	h := newHazard(t, s)
	testserver.Exec(t, h.root,
		"CREATE FUNCTION touch_two() RETURNS INT DETERMINISTIC BEGIN UPDATE hazard SET entry = CONCAT(entry, '+') WHERE id = 2; RETURN 1; END")
	db := onePool(t, s, "guard=true&multiStatements=true&interpolateParams=false")
	for name, touch := range map[string]func(tx *sql.Tx) error{
		"Exec":               func(tx *sql.Tx) error { _, err := tx.Exec(touchTwo); return err },
		"Exec with argument": func(tx *sql.Tx) error { _, err := tx.Exec("UPDATE hazard SET entry = ? WHERE id = 2", "x"); return err },
		"Query": func(tx *sql.Tx) error {
			return tx.QueryRow("SELECT entry FROM hazard WHERE id = 2 FOR UPDATE").Scan(new(string))
		},
		"prepared Query": func(tx *sql.Tx) error {
			return tx.QueryRow("SELECT entry FROM hazard WHERE id = ? FOR UPDATE", 2).Scan(new(string))
		},
		"function": func(tx *sql.Tx) error { return tx.QueryRow("SELECT touch_two()").Scan(new(int)) },
		"EXECUTE": func(tx *sql.Tx) error {
			_, err := tx.Exec("PREPARE p FROM '" + strings.ReplaceAll(touchTwo, "'", "''") + "'; EXECUTE p")
			return err
		},
		"second of a batch": func(tx *sql.Tx) error { _, err := tx.Exec("SELECT 1; " + touchTwo); return err },
		"next result set": func(tx *sql.Tx) error {
			rows, err := tx.Query("SELECT 1; SELECT entry FROM hazard WHERE id = 2 FOR UPDATE")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
			}
			rows.NextResultSet()
			return rows.Err()
		},
		"rows closed early": func(tx *sql.Tx) error {
			rows, err := tx.Query("SELECT 1; SELECT entry FROM hazard WHERE id = 2 FOR UPDATE")
			if err != nil {
				return err
			}
			return rows.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			testserver.Exec(t, tx, "INSERT INTO hazard (entry) VALUES ('before')", touchOne)
			err = h.deadlock(t, func() error { return touch(tx) })
			if !hasNumber(err, 1213) || errors.Is(err, mysqlinit.ErrTransactionLost) {
				t.Fatalf("got %v, want the server's error 1213 unchanged", err)
			}
			_, execErr := tx.Exec("INSERT INTO hazard (entry) VALUES ('after')")
			queryErr := tx.QueryRow("SELECT 1").Scan(new(int))
			_, prepareErr := tx.Prepare("SELECT 1")
			for statement, err := range map[string]error{"Exec": execErr, "Query": queryErr, "Prepare": prepareErr, "Commit": tx.Commit()} {
				if !errors.Is(err, mysqlinit.ErrTransactionLost) || !hasNumber(err, 1213) {
					t.Errorf("%s: got %v, want ErrTransactionLost with 1213 in it", statement, err)
				}
			}
			if before, after := h.entries(t, "before"), h.entries(t, "after"); before+after > 0 {
				t.Errorf("%d rows from before the deadlock, %d from after it are committed", before, after)
			}
			// The connection is as good as new.
			testserver.Exec(t, db, "INSERT INTO hazard (entry) VALUES ('next')", "DELETE FROM hazard WHERE entry = 'next'")
		})
	}
	t.Run("Rollback", func(t *testing.T) {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		testserver.Exec(t, tx, touchOne)
		_ = h.deadlock(t, func() error { _, err := tx.Exec(touchTwo); return err })
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	})
}

// The plain driver, for the record: a part of the transaction is committed, and
// nobody is told.
func TestWithoutGuardHalfATransactionIsCommitted(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		h := newHazard(t, s)
		tx, err := h.root.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		testserver.Exec(t, tx, "INSERT INTO hazard (entry) VALUES ('before')", touchOne)
		if err := h.deadlock(t, func() error { _, err := tx.Exec(touchTwo); return err }); !hasNumber(err, 1213) {
			t.Fatal(err)
		}
		testserver.Exec(t, tx, "INSERT INTO hazard (entry) VALUES ('after')")
		if err := tx.Commit(); err != nil || h.entries(t, "before") != 0 || h.entries(t, "after") != 1 {
			t.Errorf("COMMIT: %v, %d rows from before the deadlock, %d from after it; the hazard is not there", err, h.entries(t, "before"), h.entries(t, "after"))
		}
	})
}

// A lock wait that times out ends a transaction only with
// innodb_rollback_on_timeout. The server's flags decide.
func TestGuardBelievesTheFlagsAfterALockWait(t *testing.T) {
	for name, rollback := range map[string]bool{"statement only": false, "innodb_rollback_on_timeout": true} {
		t.Run(name, func(t *testing.T) {
			cfg := testserver.Config{Binlog: "MIXED", Args: []string{"--innodb-lock-wait-timeout=1"}}
			if rollback {
				cfg.Args = append(cfg.Args, "--innodb-rollback-on-timeout=ON")
			}
			t.Parallel() // each waits for a second
			onBoth(t, cfg, func(t *testing.T, s *testserver.Server) {
				t.Parallel()
				h := newHazard(t, s)
				db := onePool(t, s, "guard=true")
				other, err := h.root.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = other.Rollback() }()
				testserver.Exec(t, other, touchTwo)
				tx, err := db.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				testserver.Exec(t, tx, "INSERT INTO hazard (entry) VALUES ('before')")
				if _, err := tx.Exec(touchTwo); !hasNumber(err, 1205) {
					t.Fatalf("got %v, want error 1205", err)
				}
				_, next := tx.Exec("INSERT INTO hazard (entry) VALUES ('after')")
				commit := tx.Commit()
				for statement, err := range map[string]error{"the next statement": next, "Commit": commit} {
					if rollback != errors.Is(err, mysqlinit.ErrTransactionLost) || rollback != hasNumber(err, 1205) || !rollback && err != nil {
						t.Errorf("%s: %v", statement, err)
					}
				}
				want := 1
				if rollback {
					want = 0
				}
				if h.entries(t, "before") != want || h.entries(t, "after") != want {
					t.Errorf("%d rows from before the error, %d from after it, want %d each", h.entries(t, "before"), h.entries(t, "after"), want)
				}
			})
		})
	}
}

// A statement that commits implicitly ends the guard's watch, whether it succeeds
// or not. Migrations run DDL in transactions.
func TestGuardStandsDownAfterDDL(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		newHazard(t, s)
		db := onePool(t, s, "guard=true")
		for _, ddl := range []struct {
			statement string
			fails     uint16
		}{{"CREATE TABLE migrated (id INT)", 0}, {"CREATE TABLE hazard (id INT)", 1050}, {"ALTER TABLE nothing ADD x INT", 1146}, {"DROP TABLE nothing", 1051}, {"CREATE UNIQUE INDEX twice ON hazard (entry)", 1062}} {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			testserver.Exec(t, tx, "INSERT INTO hazard (entry) VALUES ('before')")
			if _, err := tx.Exec(ddl.statement); ddl.fails == 0 && err != nil || ddl.fails != 0 && !hasNumber(err, ddl.fails) {
				t.Fatalf("%s: %v", ddl.statement, err)
			}
			testserver.Exec(t, tx, "INSERT INTO hazard (entry) VALUES ('after')")
			if err := tx.Commit(); err != nil {
				t.Errorf("%s: %v", ddl.statement, err)
			}
		}
	})
}

// allocsPerRun is testing.AllocsPerRun with another rounding: the guard allocates
// for many queries at once, and under the race detector a sync.Pool forgets at
// random, so that the average can lie a little on either side of a whole number.
func allocsPerRun(run func()) float64 {
	const runs = 200
	run()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		run()
	}
	runtime.ReadMemStats(&after)
	return math.Floor(float64(after.Mallocs-before.Mallocs)/runs + 0.25)
}

func TestGuardOfATransactionCostsNothing(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	newHazard(t, s)
	allocations := func(params string, run func(tx *sql.Tx)) float64 {
		db := onePool(t, s, params)
		tx, err := db.BeginTx(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		return allocsPerRun(func() { run(tx) })
	}
	for name, run := range map[string]func(tx *sql.Tx){
		"Exec": func(tx *sql.Tx) { _, _ = tx.Exec("DO 1") },
		"Query": func(tx *sql.Tx) {
			rows, err := tx.Query("SELECT id FROM hazard")
			if err == nil {
				for rows.Next() {
				}
				rows.Close()
			}
		},
		"interpolated": func(tx *sql.Tx) { _, _ = tx.Exec("DO ?", 1) },
	} {
		plain, guarded := allocations("interpolateParams=true", run), allocations("interpolateParams=true&guard=true", run)
		if guarded > plain {
			t.Errorf("%s: %v allocations, with the guard %v", name, plain, guarded)
		}
	}
}
