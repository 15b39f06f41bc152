package conformance

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

const logColumns = "id INT AUTO_INCREMENT PRIMARY KEY, entry VARCHAR(50) NOT NULL"

// logTable creates a table with rows 1 and 2, for transactions that conflict.
func logTable(t *testing.T, db *sql.DB) string {
	t.Helper()
	name := table(t, db, "log", logColumns)
	testserver.Exec(t, db, "INSERT INTO "+name+" VALUES (1, 'one'), (2, 'two')")
	return name
}

// addPlus changes a row of a logTable.
func addPlus(ctx context.Context, q mysqltx.Querier, table string, id int) error {
	_, err := q.ExecContext(ctx, "UPDATE "+table+" SET entry = CONCAT(entry, '+') WHERE id = ?", id)
	return err
}

// deadlock has two transactions update two rows in opposite order. Each waits for the
// other's first update before its second.
func (s *suite) deadlock(t *testing.T) string {
	db := open(t, s.Root, "")
	name := logTable(t, db)
	var calls atomic.Int32
	var met sync.WaitGroup
	met.Add(2)
	var all sync.WaitGroup
	for _, order := range [][2]int{{1, 2}, {2, 1}} {
		all.Go(func() {
			first := true
			err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
				calls.Add(1)
				err := addPlus(ctx, tx, name, order[0])
				if first {
					first = false
					met.Done()
					met.Wait()
				}
				if err != nil {
					return err
				}
				return addPlus(ctx, tx, name, order[1])
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	wantValue(t, db, "GROUP_CONCAT(entry ORDER BY id) FROM "+name, "one++,two++")
	if calls.Load() < 3 {
		t.Errorf("%d calls, want at least 3: there was no deadlock", calls.Load())
	}
	return "run again"
}

// swallowedDeadlock has a function return nil although the server has ended its
// transaction. None of its statements is allowed to be committed, whether it came before
// or after the deadlock.
func (s *suite) swallowedDeadlock(t *testing.T) string {
	db := open(t, s.Root, "")
	name := logTable(t, db)
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		return swallowDeadlock(ctx, db, tx, name)
	})
	if !errors.Is(err, mysqltx.ErrTransactionLost) {
		t.Errorf("got %v, want ErrTransactionLost", err)
	}
	wantValue(t, db, entries(name), "")
	return "nothing half committed"
}

// swallowedByHand does the same with database/sql alone, under the guard.
func (s *suite) swallowedByHand(t *testing.T) string {
	db := open(t, s.Root, "guard=true")
	name := logTable(t, db)
	if err := commitAfterDeadlock(t, db, name); !errors.Is(err, mysqlinit.ErrTransactionLost) || number(err) != errDeadlock {
		t.Errorf("COMMIT: got %v, want ErrTransactionLost with error %d in it", err, errDeadlock)
	}
	wantValue(t, db, entries(name), "")
	return "nothing half committed"
}

// swallowedPlain shows what the plain driver makes of it.
func (s *suite) swallowedPlain(t *testing.T) string {
	db := openPlain(t, s.Root)
	name := logTable(t, db)
	err := commitAfterDeadlock(t, db, name)
	got, readErr := read(t.Context(), db, entries(name))
	if readErr != nil {
		t.Fatal(readErr)
	}
	if s.Want != nil && (err != nil || got != "after") {
		t.Errorf("the plain driver should commit the half after the deadlock: COMMIT: %v, committed: %q", err, got)
	}
	if err != nil || got != "after" {
		return fmt.Sprintf("COMMIT: %s; committed: %q", cellNumber(number(err)), got)
	}
	return "COMMIT ok, half committed"
}

// entries returns an SQL expression for the rows that swallowDeadlock has written.
func entries(table string) string {
	return "GROUP_CONCAT(entry ORDER BY id) FROM " + table + " WHERE entry IN ('before', 'after')"
}

// commitAfterDeadlock ends a transaction that has swallowed a deadlock, and returns the
// error of its COMMIT.
func commitAfterDeadlock(t *testing.T, db *sql.DB, table string) error {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := swallowDeadlock(t.Context(), db, tx, table); err != nil && !errors.Is(err, mysqlinit.ErrTransactionLost) {
		t.Fatal(err)
	}
	return tx.Commit()
}

// swallowDeadlock writes a row, loses the transaction to a deadlock, and writes another row.
// It returns the error of either write, and not the deadlock's.
func swallowDeadlock(ctx context.Context, db *sql.DB, tx *sql.Tx, table string) error {
	write := func(entry string) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO "+table+" (entry) VALUES (?)", entry)
		return err
	}
	before := write("before")
	if err := addPlus(ctx, tx, table, 1); err != nil {
		return err
	}
	if err := loseDeadlock(ctx, db, table, 1, 2, func() error { return addPlus(ctx, tx, table, 2) }); number(err) != errDeadlock {
		return fmt.Errorf("want error %d, got %w", errDeadlock, err)
	}
	return errors.Join(before, write("after"))
}

// loseDeadlock makes a transaction that has changed row one of a logTable the victim of a
// deadlock: touch touches row two in it. The other transaction survives, because it has
// changed more rows, and rolls back. The error is touch's.
func loseDeadlock(ctx context.Context, db *sql.DB, table string, one, two int, touch func() error) error {
	other, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = other.Rollback() }()
	session, err := read(ctx, other, "CONNECTION_ID()")
	if err != nil {
		return err
	}
	if _, err := other.ExecContext(ctx, "INSERT INTO "+table+" (entry) VALUES ('x')"+strings.Repeat(", ('x')", 99)); err != nil {
		return err
	}
	if err := addPlus(ctx, other, table, two); err != nil {
		return err
	}
	waited := make(chan error, 1)
	go func() { waited <- addPlus(ctx, other, table, one) }()
	if err := awaitLockWait(ctx, db, session); err != nil {
		return err
	}
	lost := touch()
	if err := <-waited; err != nil {
		return fmt.Errorf("the victim is the other transaction, although it has changed more rows: %w", errors.Join(err, lost))
	}
	return lost
}

// lockWaits matches the sessions that wait for a row's lock in InnoDB's status.
var lockWaits = regexp.MustCompile(`(?s)\nLOCK WAIT .*?thread id (\d+),`)

// awaitLockWait waits until a session waits for a row's lock. If that is not to be seen,
// because the account is not allowed to or vtgate is in between, it waits for long enough:
// on a slow machine the other transaction can then be the deadlock's victim, which shows.
// (information_schema.innodb_trx would be simpler, but MySQL refreshes it only when nobody
// has read it for 100 ms.)
func awaitLockWait(ctx context.Context, db *sql.DB, session string) error {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var ignored, status string
		err := db.QueryRowContext(ctx, "SHOW ENGINE INNODB STATUS").Scan(&ignored, &ignored, &status)
		if err != nil && number(err) == 0 {
			return err
		}
		for _, wait := range lockWaits.FindAllStringSubmatch(status, -1) {
			if wait[1] == session {
				return nil
			}
		}
	}
	return nil
}

// recordChanged checks that Run runs a transaction again if the server ends it with 1020,
// as some servers do to the loser of the race.
func (s *suite) recordChanged(t *testing.T) string {
	db := open(t, s.Root, "isolation=repeatable-read")
	name := table(t, db, "changed", raceColumns)
	calls, heard := 0, uint16(0)
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		created, err := byHandIn(ctx, tx, name, "ann", func() error {
			if calls > 1 {
				return nil
			}
			_, err := insertName(name, "ann")(ctx, db)
			return err
		})
		if err == nil && created {
			return errors.New("the row was created twice")
		}
		if err != nil && heard == 0 {
			heard = number(err)
		}
		return err
	})
	switch {
	case heard == errRecordChanged && err == nil && calls == 2:
		return "1020, run again"
	case heard == 0 && errors.Is(err, sql.ErrNoRows) && calls == 1:
		return "no 1020"
	}
	t.Errorf("%d calls, heard %d, %v", calls, heard, err)
	return ""
}
