package conformance

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	write := func(ctx context.Context, tx *sql.Tx, entry string) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO "+name+" (entry) VALUES (?)", entry)
		return err
	}
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		before := write(ctx, tx, "before")
		if err := loseDeadlock(ctx, db, tx, name); number(err) != errDeadlock {
			return err
		}
		return errors.Join(before, write(ctx, tx, "after"))
	})
	if !errors.Is(err, mysqltx.ErrTransactionLost) {
		t.Errorf("got %v, want ErrTransactionLost", err)
	}
	wantValue(t, db, "COUNT(*) FROM "+name+" WHERE entry IN ('before', 'after')", "0")
	return "nothing half committed"
}

// loseDeadlock makes tx the victim of a deadlock and returns the error of its statement.
// The other transaction survives, because it has changed more rows, and rolls back.
func loseDeadlock(ctx context.Context, db *sql.DB, tx *sql.Tx, table string) error {
	other, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = other.Rollback() }()
	if err := addPlus(ctx, tx, table, 1); err != nil {
		return err
	}
	if _, err := other.ExecContext(ctx, "INSERT INTO "+table+" (entry) VALUES ('x')"+strings.Repeat(", ('x')", 99)); err != nil {
		return err
	}
	if err := addPlus(ctx, other, table, 2); err != nil {
		return err
	}
	waited := make(chan error, 1)
	go func() { waited <- addPlus(ctx, other, table, 1) }()
	// If the other's statement reaches the server only after this sleep, there is still a
	// deadlock, but either transaction can be the victim: its answer below shows which.
	time.Sleep(300 * time.Millisecond)
	lost := addPlus(ctx, tx, table, 2)
	if err := <-waited; err != nil {
		return fmt.Errorf("the victim is the other transaction, although it has changed more rows: %w", errors.Join(err, lost))
	}
	return lost
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
