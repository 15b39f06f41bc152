package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// fate counts how get-or-create transactions ended.
type fate struct {
	finished, vanished, deadlocked int
	elapsed                        time.Duration
}

func (f fate) total() int { return f.finished + f.vanished + f.deadlocked }

// perTenThousand scales a count to 10,000 transactions.
func (f fate) perTenThousand(n int) float64 { return 10000 * float64(n) / float64(max(1, f.total())) }

// purpose measures on one server what the driver is for: get-or-create transactions that
// don't fail. Fates are by number of workers and contender.
type purpose struct {
	names []string
	hot   [][]fate // all workers ask for the same new keys
	cold  [][]fate // each worker asks for its own new keys
}

var raceWorkers = []int{1, 4, 16, 64, 128}

const errDeadlock = 1213

// measurePurpose has workers get or create rows with handwritten code, each row in a
// transaction: at REPEATABLE READ through the plain driver, at READ COMMITTED through
// mysqlinit.
func measurePurpose(ctx context.Context, s server, transactions int) (p purpose, err error) {
	contenders := named(connecting, plain, ours)
	p.names = []string{"plain driver, REPEATABLE READ", "mysqlinit, READ COMMITTED"}
	round := 0
	for _, workers := range raceWorkers {
		for _, hot := range []bool{true, false} {
			var fates []fate
			for _, c := range contenders {
				round++
				f, err := raceFor(ctx, s, c, workers, transactions/workers, hot, round)
				if err != nil {
					return p, fmt.Errorf("%s, %d workers: %w", c.name, workers, err)
				}
				fates = append(fates, f)
			}
			if hot {
				p.hot = append(p.hot, fates)
			} else {
				p.cold = append(p.cold, fates)
			}
		}
	}
	return p, nil
}

// raceFor has the workers get or create so many rows each, and counts how that ends. Keys
// contain the round, so no key is used twice.
func raceFor(ctx context.Context, s server, c contender, workers, each int, hot bool, round int) (sum fate, err error) {
	db, err := c.open(s)
	if err != nil {
		return sum, err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxIdleConns(workers)
	var mu sync.Mutex
	var all sync.WaitGroup
	start := time.Now()
	for w := range workers {
		all.Go(func() {
			for i := range each {
				key := fmt.Sprintf("%d-%d", round, i)
				if !hot {
					key = fmt.Sprintf("%d-%d-%d", round, w, i)
				}
				failure := getOrCreate(ctx, db, key)
				mu.Lock()
				switch serverErr, _ := errors.AsType[*mysql.MySQLError](failure); {
				case failure == nil:
					sum.finished++
				case errors.Is(failure, sql.ErrNoRows):
					sum.vanished++
				case serverErr != nil && serverErr.Number == errDeadlock:
					sum.deadlocked++
				default:
					err = errors.Join(err, failure)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	sum.elapsed = time.Since(start)
	return sum, err
}

// getOrCreate gets or creates a row the way programs do by hand.
func getOrCreate(ctx context.Context, db *sql.DB, key string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	get := func() error {
		return tx.QueryRowContext(ctx, "SELECT id FROM bench_keys WHERE name = ?", key).Scan(new(int))
	}
	if err = get(); errors.Is(err, sql.ErrNoRows) {
		if _, err = tx.ExecContext(ctx, "INSERT INTO bench_keys (name) VALUES (?)", key); mysqltx.IsDuplicateKey(err) {
			err = get()
		}
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}
