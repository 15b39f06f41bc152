package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// tally counts how the transactions of one run ended.
type tally struct {
	finished   int
	vanished   int // error 1062, then no row
	changed    int // error 1020
	deadlocked int // error 1213
	elapsed    time.Duration
}

func (t tally) lost() int { return t.vanished + t.changed }

// load plays act 3: workers race for each of the keys, through each driver.
func (st *stage) load(ctx context.Context, workers, keys int) (kept bool, err error) {
	st.title(fmt.Sprintf("3. Under load: %s workers race for each of %s keys", count(workers), count(keys)))
	plainRun, err := st.runWorkers(ctx, st.plain, "plain", workers, keys)
	if err != nil {
		return false, err
	}
	preparedRun, err := st.runWorkers(ctx, st.prepared, "prepared", workers, keys)
	if err != nil {
		return false, err
	}
	row := func(label, a, b string) { fmt.Fprintf(st.w, "  %-*s %12s %10s\n", st.width-27, label, a, b) }
	line := func(label string, a, b int) { row(label, count(a), count(b)) }
	fmt.Fprintln(st.w)
	row("", "plain driver", "mysqlinit")
	line("transactions", workers*keys, workers*keys)
	line("got or created the row", plainRun.finished, preparedRun.finished)
	line("lost: error 1062, then no row", plainRun.vanished, preparedRun.vanished)
	if plainRun.changed+preparedRun.changed > 0 {
		line("lost: error 1020, rolled back", plainRun.changed, preparedRun.changed)
	}
	if plainRun.deadlocked+preparedRun.deadlocked > 0 {
		line("deadlock (1213), to be run again", plainRun.deadlocked, preparedRun.deadlocked)
	}
	row("seconds", fmt.Sprintf("%.1f", plainRun.elapsed.Seconds()), fmt.Sprintf("%.1f", preparedRun.elapsed.Seconds()))
	switch {
	case preparedRun.lost() > 0:
		st.verdict(bad, fmt.Sprintf("mysqlinit lost %s transactions, %s.", count(preparedRun.lost()), st.whyLost))
	case plainRun.lost() == 0:
		st.verdict(plain, "Neither driver lost any: either the server's own level is READ COMMITTED, or the race was not hard enough (-workers, -keys).")
	default:
		st.verdict(good, fmt.Sprintf("The plain driver lost %s transactions, mysqlinit none.", count(plainRun.lost())))
	}
	return preparedRun.lost() == 0, nil
}

// runWorkers starts all workers at once for the first key, and for the next key
// when they have ended.
func (st *stage) runWorkers(ctx context.Context, db *sql.DB, name string, workers, keys int) (tally, error) {
	var sum tally
	var failed error
	var mu sync.Mutex
	start := time.Now()
	for key := range keys {
		if failed != nil || ctx.Err() != nil {
			break
		}
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				found, err := st.getOrCreate(ctx, db, fmt.Sprintf("%s-%d", name, key))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && found:
					sum.finished++
				case err == nil:
					sum.vanished++
				case errorNumber(err) == errRecordChanged:
					sum.changed++
				case errorNumber(err) == errDeadlock:
					sum.deadlocked++
				case failed == nil: // the others are the same, or follow from it
					failed = err
				}
			})
		}
		all.Wait()
	}
	sum.elapsed = time.Since(start)
	return sum, errors.Join(failed, ctx.Err())
}

// getOrCreate is what programs write by hand: get, else create, and get again
// after a duplicate key.
func (st *stage) getOrCreate(ctx context.Context, db *sql.DB, key string) (found bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	get := func() error {
		var name string
		return tx.QueryRowContext(ctx, "SELECT name FROM "+st.table+" WHERE name = ?", key).Scan(&name)
	}
	err = get()
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, "INSERT INTO "+st.table+" (name) VALUES (?)", key)
		if errorNumber(err) == errDuplicateKey {
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
