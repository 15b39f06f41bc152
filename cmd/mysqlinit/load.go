package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// tally is how the transactions of one run ended.
type tally struct {
	finished, vanished, changed, deadlocked int
	elapsed                                 time.Duration
}

// load lets workers race for each of the keys, through both drivers.
func (st *stage) load(ctx context.Context, workers, keys int) (kept bool, err error) {
	st.title(fmt.Sprintf("3. Under load: %s workers race for each of %s keys", count(workers), count(keys)))
	plainRun, err := st.raceFor(ctx, st.plain, "plain", workers, keys)
	if err != nil {
		return false, err
	}
	preparedRun, err := st.raceFor(ctx, st.prepared, "prepared", workers, keys)
	if err != nil {
		return false, err
	}
	row := func(label, a, b string) { fmt.Fprintf(st.w, "  %-46s %14s %14s\n", label, a, b) }
	line := func(label string, a, b int) { row(label, count(a), count(b)) }
	fmt.Fprintln(st.w)
	row("", "plain driver", "mysqlinit")
	line("transactions", workers*keys, workers*keys)
	line("got or created the row", plainRun.finished, preparedRun.finished)
	line("lost: error 1062, then no row", plainRun.vanished, preparedRun.vanished)
	if plainRun.changed+preparedRun.changed > 0 {
		line("lost: error 1020, transaction rolled back", plainRun.changed, preparedRun.changed)
	}
	if plainRun.deadlocked+preparedRun.deadlocked > 0 {
		line("deadlock (1213), to be run again", plainRun.deadlocked, preparedRun.deadlocked)
	}
	row("seconds", fmt.Sprintf("%.1f", plainRun.elapsed.Seconds()), fmt.Sprintf("%.1f", preparedRun.elapsed.Seconds()))
	lost := preparedRun.vanished + preparedRun.changed
	switch {
	case lost > 0:
		st.verdict(bad, fmt.Sprintf("mysqlinit lost %s transactions: is the DSN's isolation not read-committed?", count(lost)))
	case plainRun.vanished+plainRun.changed == 0:
		st.verdict(plain, "Neither lost any: either the server's own level is READ COMMITTED, or the race was not hard enough (-workers, -keys).")
	default:
		st.verdict(good, fmt.Sprintf("The plain driver lost %s transactions, mysqlinit none.", count(plainRun.vanished+plainRun.changed)))
	}
	return lost == 0, nil
}

// raceFor starts, key by key, all workers at once.
func (st *stage) raceFor(ctx context.Context, db *sql.DB, name string, workers, keys int) (tally, error) {
	var sum tally
	var firstErr error
	var mu sync.Mutex
	start := time.Now()
	for key := range keys {
		if firstErr != nil || ctx.Err() != nil {
			break
		}
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				found, err := st.getOrCreate(ctx, db, fmt.Sprintf("%s-%d", name, key))
				mu.Lock()
				defer mu.Unlock()
				switch number(err) {
				case 0:
					switch {
					case err != nil:
						firstErr = errors.Join(firstErr, err)
					case found:
						sum.finished++
					default:
						sum.vanished++
					}
				case errRecordChanged:
					sum.changed++
				case errDeadlock:
					sum.deadlocked++
				default:
					firstErr = errors.Join(firstErr, err)
				}
			})
		}
		all.Wait()
	}
	sum.elapsed = time.Since(start)
	return sum, errors.Join(firstErr, ctx.Err())
}

// getOrCreate is what programs write by hand: get, else create, and after a
// duplicate key get once more.
func (st *stage) getOrCreate(ctx context.Context, db *sql.DB, key string) (found bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	get := func() error {
		var name string
		return tx.QueryRowContext(ctx, "SELECT name FROM "+st.table+" WHERE name = ?", key).Scan(&name)
	}
	err = get()
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, "INSERT INTO "+st.table+" (name) VALUES (?)", key)
		if number(err) == errDuplicateKey {
			err = get()
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, tx.Commit()
}
