package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/bench/internal/stats"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// fate counts how the get-or-create transactions of one run ended.
type fate struct {
	Finished, Vanished, Deadlocked int
	Collided                       int // those whose INSERT met a duplicate key, however they ended
	Seconds                        float64
}

func (f fate) perTenThousand(n int) float64 {
	return 10000 * float64(n) / float64(max(1, f.Finished+f.Vanished+f.Deadlocked))
}

// These are figures of one run. Lost and collided are out of 10,000 transactions;
// rows is how many transactions a second got their row.
func (f fate) lost() float64     { return f.perTenThousand(f.Vanished + f.Deadlocked) }
func (f fate) collided() float64 { return f.perTenThousand(f.Collided) }
func (f fate) rows() float64     { return float64(f.Finished) / f.Seconds }

// race holds the runs of one load and one number of workers.
type race struct {
	Hot     bool // all workers ask for the same new keys; else each asks for its own
	Workers int
	Names   []string
	Fates   [][]fate // by contender and run
}

// of returns a figure of each run.
func (r race) of(figure func(fate) float64) stats.Paired {
	p := stats.NewPaired(r.Names...)
	for i, fates := range r.Fates {
		for _, f := range fates {
			p.Samples[i] = append(p.Samples[i], figure(f))
		}
	}
	return p
}

var raceWorkers = []int{1, 4, 16, 64, 128}

const errDeadlock = 1213

// measurePurpose measures on one server what the driver is for: get-or-create transactions
// that don't fail. Workers run handwritten code, each row in a transaction: at REPEATABLE
// READ through the plain driver, at READ COMMITTED through mysqlinit.
func measurePurpose(ctx context.Context, s server, runs, transactions int) (races []race, err error) {
	contenders := named(connecting, plain, ours)
	number := 0
	for _, hot := range []bool{true, false} {
		for _, workers := range raceWorkers {
			r := race{Hot: hot, Workers: workers, Names: namesOf(contenders), Fates: make([][]fate, len(contenders))}
			each := min(transactions/workers, transactions/8) // fewer for one worker, who takes longest
			for range runs {
				for _, i := range rand.Perm(len(contenders)) {
					number++
					f, err := raceFor(ctx, s, contenders[i], workers, each, hot, number)
					if err != nil {
						return nil, fmt.Errorf("%s, %d workers: %w", contenders[i].name, workers, err)
					}
					r.Fates[i] = append(r.Fates[i], f)
				}
			}
			races = append(races, r)
		}
	}
	return races, nil
}

// raceFor has the workers get or create so many rows each, and counts how that ends. Keys
// contain the number of the run, so no key is used twice.
func raceFor(ctx context.Context, s server, c contender, workers, each int, hot bool, number int) (sum fate, err error) {
	db, err := c.open(s)
	if err != nil {
		return sum, err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxIdleConns(workers)
	if err := connectAll(ctx, db, workers); err != nil {
		return sum, err
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	start := time.Now()
	for w := range workers {
		all.Go(func() {
			for i := range each {
				key := fmt.Sprintf("%d-%d", number, i)
				if !hot {
					key = fmt.Sprintf("%d-%d-%d", number, w, i)
				}
				collided, failure := getOrCreate(ctx, db, key)
				mu.Lock()
				if collided {
					sum.Collided++
				}
				switch serverErr, _ := errors.AsType[*mysql.MySQLError](failure); {
				case failure == nil:
					sum.Finished++
				case errors.Is(failure, sql.ErrNoRows):
					sum.Vanished++
				case serverErr != nil && serverErr.Number == errDeadlock:
					sum.Deadlocked++
				default:
					err = errors.Join(err, failure)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	sum.Seconds = time.Since(start).Seconds()
	return sum, err
}

// connectAll fills the pool, so that connecting is not part of what is timed.
func connectAll(ctx context.Context, db *sql.DB, size int) error {
	for range size {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
	}
	return nil
}

// getOrCreate gets or creates a row the way programs do by hand. It reports whether the
// INSERT collided with the row of another worker.
func getOrCreate(ctx context.Context, db *sql.DB, key string) (collided bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	get := func() error {
		return tx.QueryRowContext(ctx, "SELECT id FROM bench_keys WHERE name = ?", key).Scan(new(int))
	}
	if err = get(); errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, "INSERT INTO bench_keys (name) VALUES (?)", key)
		if collided = mysqltx.IsDuplicateKey(err); collided {
			err = get()
		}
	}
	if err != nil {
		return collided, err
	}
	return collided, tx.Commit()
}
