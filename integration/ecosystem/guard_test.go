//go:build ecosystem

package ecosystem

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

const errDeadlock = 1213

// guard has a transaction of the library swallow the error of a deadlock and go on. With
// guard=true nothing of it is committed, and its commit fails. Without the guard the half
// after the deadlock is committed, and nothing fails.
func (l library[DB]) guard(t *testing.T, open func(dsn string) (DB, error)) {
	if l.transact == nil {
		l.transact = l.beginAndCommit
	}
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Run("off", func(t *testing.T) {
				rows, after, commit := l.swallow(t, s, open, "", false)
				if after != nil || commit != nil || rows != "after" {
					t.Errorf("the insert after the deadlock: %v, the commit: %v, committed: %q; the hazard is not there", after, commit, rows)
				}
			})
			for name, nest := range map[string]bool{"on": false, "on, nested": true} {
				if nest && !l.nests {
					continue
				}
				t.Run(name, func(t *testing.T) {
					rows, after, commit := l.swallow(t, s, open, "?guard=true", nest)
					for what, err := range map[string]error{"the insert after the deadlock": after, "the commit": commit} {
						if !errors.Is(err, mysqlinit.ErrTransactionLost) || number(err) != errDeadlock {
							t.Errorf("%s: got %v, want ErrTransactionLost with error 1213 in it", what, err)
						}
					}
					if rows != "" {
						t.Errorf("committed: %q, want nothing", rows)
					}
				})
			}
		})
	}
}

func (l library[DB]) beginAndCommit(ctx context.Context, db DB, fn func(transaction) error) error {
	tx, err := l.begin(ctx, db)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.rollback())
	}
	return tx.commit()
}

// swallow runs a transaction that inserts a row, meets a deadlock and ignores its error,
// and inserts another row. It returns which of the rows are committed, and the errors of the
// second insert and of the transaction. With nest, the deadlock is in a nested transaction.
func (l library[DB]) swallow(t *testing.T, s *server, open func(dsn string) (DB, error), params string, nest bool) (rows string, after, commit error) {
	database := s.database(t)
	db, err := open(s.dsn(database) + params)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(db); err != nil {
			t.Error(err)
		}
	}()
	commit = l.transact(t.Context(), db, func(tx transaction) error {
		if err := tx.insert("before"); err != nil {
			t.Fatal(err)
		}
		meet := func(tx transaction) error {
			err := s.deadlock(t, database, "before", tx.insert)
			if number(err) != errDeadlock || errors.Is(err, mysqlinit.ErrTransactionLost) {
				t.Errorf("got %v, want the server's error 1213", err)
			}
			return err
		}
		if nest {
			_ = tx.nested(meet)
		} else {
			_ = meet(tx)
		}
		after = tx.insert("after")
		return nil
	})
	return s.value(t, "SELECT COALESCE(GROUP_CONCAT(name), '') FROM "+database+".names WHERE name IN ('before', 'after')"), after, commit
}

// deadlock has a transaction that has inserted the row theirs insert another, in a
// deadlock. The other transaction survives, because it has changed more rows, and is rolled
// back. deadlock returns insert's error.
func (s *server) deadlock(t *testing.T, database, theirs string, insert func(name string) error) error {
	t.Helper()
	other, err := s.plain.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Rollback() }()
	into := "INSERT INTO " + database + ".names (name) "
	testserver.Exec(t, other, into+"VALUES ('ours')", into+"SELECT UUID_SHORT() FROM information_schema.COLLATIONS")
	waited := make(chan error, 1)
	go func() {
		_, err := other.ExecContext(t.Context(), into+"VALUES ('"+theirs+"')")
		waited <- err
	}()
	for waiting := "0"; waiting == "0"; time.Sleep(10 * time.Millisecond) {
		if err := s.plain.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(new(string), &waiting); err != nil {
			t.Fatal(err)
		}
	}
	err = insert("ours")
	if err := <-waited; err != nil {
		t.Error("the other transaction is the victim, although it has changed more rows:", err)
	}
	return err
}
